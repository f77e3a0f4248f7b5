"""For how long a busy server asks to be left alone: the header `Retry-After` (RFC 9110, 10.2.3),
and `retry-after-ms`, in which OpenAI and Azure say it in milliseconds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_IN_WORDS = re.compile(
    r"\b(?:retry|try again) (?:in|after) (?P<number>\d{1,6}(?:\.\d{1,9})?) ?(?P<unit>ms|s)\b",
    re.IGNORECASE,
)


def seconds_asked(headers: Mapping[str, str], *, now: float) -> float:
    """Return the seconds that the headers of an answer ask for; 0 if they ask for none."""
    exact = retry_seconds(headers.get("retry-after-ms"), now=now) / 1000
    return exact or retry_seconds(headers.get("retry-after"), now=now)


def seconds_in_words(text: str) -> float:
    """Return the seconds that a message asks for ("try again in 7.5s"); 0 if it asks for none."""
    found = _IN_WORDS.search(text)
    if found is None:
        return 0.0
    return float(found["number"]) / (1000 if found["unit"].lower() == "ms" else 1)


def retry_seconds(value: str | None, *, now: float) -> float:
    """Return the seconds that a header asks for; 0 if there is none, or none that can be read.

    It holds a number of seconds, or a date, which counts from `now` (seconds since the epoch).
    What it asks for is not bounded here; whoever waits bounds it.
    """
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_to(value, now)
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _seconds_to(date: str, now: float) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return 0.0
