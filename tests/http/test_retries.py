"""For how long a server asks to be left alone."""

from __future__ import annotations

import pytest

from qwq_env.http.retries import retry_seconds, seconds_asked, seconds_in_words


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-7", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("soon", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:40 GMT", 0.0),
        ("Thu, 01 Jan 999999999 00:00:40 GMT", 0.0),
    ],
)
def test_seconds_that_a_server_asks_for(value, seconds):
    assert retry_seconds(value, now=60.0) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
    ],
)
def test_headers_that_ask_for_a_pause(headers, seconds):
    assert seconds_asked(headers, now=0.0) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 7.66s. Visit", 7.66),
        ("Please retry in 30.638054576s.", 30.638054576),
        ("try again in 250ms", 0.25),
        ("Please try again in 6m0s", 360.0),
        ("Please try again in 28m48.5s. Need more tokens?", 1728.5),
        ("Please retry after 20 seconds.", 20.0),
        ("Try again in 1 minute", 60.0),
        ("try again in 1h2m", 3720.0),
        ("try again in 3 steps", 0.0),
        ("try again in 5", 0.0),
        ("try again later", 0.0),
        ("", 0.0),
    ],
)
def test_pause_in_words(text, seconds):
    assert seconds_in_words(text) == pytest.approx(seconds)
