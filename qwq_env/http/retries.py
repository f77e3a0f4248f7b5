"""When a server that failed is asked again: one rule for all that ask one.

Which failures may pass is `qwq_env.http.refusal`'s to say. For how long a busy server asks to be
left alone, it says in the header `Retry-After` (RFC 9110, 10.2.3), in milliseconds in
`retry-after-ms` (OpenAI, Azure), or in words.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

AWAY: Final = frozenset({502, 503, 504, 521, 522, 523})
"""Statuses with which a gateway says that there is nobody behind it (and busy servers that they
are busy)."""

_READ: Final = 4000
"""Characters of a message in which a time to wait is looked for."""
_IN_WORDS = re.compile(
    r"\b(?:retry|try again) (?:in|after) (?P<time>(?:\d{1,6}(?:\.\d{1,9})? ?"
    r"(?:ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)(?![a-z]) ?){1,4})",
    re.IGNORECASE,
)
_PART = re.compile(r"(?P<number>[\d.]+) ?(?P<unit>[a-z]+)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def pause(attempt: int, first: float) -> float:
    """Return the seconds to wait before try `attempt` (the second is 1): from `first` on doubled,
    and spread by a half, so that a thousand that failed at once do not come back at once."""
    return first * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)


def seconds_asked(headers: Mapping[str, str], body: str = "", *, now: float) -> float:
    """Return the seconds that a failure asks for, in its headers (any case) or in words."""
    exact = retry_seconds(headers.get("retry-after-ms"), now=now) / 1000
    asked = exact or retry_seconds(headers.get("retry-after"), now=now)
    return asked or seconds_in_words(body)


def seconds_in_words(text: str) -> float:
    """Return the seconds that a message asks for ("try again in 7.5s", "in 28m48s"); 0 if none."""
    found = _IN_WORDS.search(text[:_READ])
    parts = _PART.finditer(found["time"]) if found else ()
    return math.fsum(float(part["number"]) * _unit(part["unit"].lower()) for part in parts)


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


def _unit(word: str) -> float:
    return 0.001 if word == "ms" or word.startswith("milli") else _SECONDS[word[0]]
