"""A judge's reply read strictly: one JSON object with the keys asked for, and nothing beside it.

A reply in which a verdict must be searched for is no verdict: what is found there may be a
quotation of the answer that was judged. Forgiven is only what judges often write inside a text, and
what leaves nothing to choose: a backslash of LaTeX that is not doubled, and a line end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from qwq_env.grading.answer import final_answer_text

_FENCE = re.compile(r"```\s*(?:\w+\s+)?(?P<body>\{.*\})\s*```", re.DOTALL)
_BACKSLASH = re.compile(r"(?P<escape>\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4}))|\\")


class Unparsed(Exception):
    """The reply is no verdict; the message says what is wrong with it."""


class Rating(NamedTuple):
    """A number within the range asked for, and why."""

    score: float
    reason: str


class Preference(NamedTuple):
    """`"first"`, `"second"` or `"tie"`, and why."""

    better: str
    reason: str


def read_rating(reply: str, low: float, high: float) -> Rating:
    """Read `{"score": number from low to high, "reason": text}`. Raises `Unparsed`."""
    verdict = _read(reply, "score")
    score = verdict["score"]
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Unparsed(f"score is {score!r:.80}; expected a number")
    if not low <= score <= high:
        raise Unparsed(f"score is {score!r:.80}; expected {low:g} to {high:g}")
    return Rating(float(score), verdict["reason"])


def read_preference(reply: str) -> Preference:
    """Read `{"better": "first" | "second" | "tie", "reason": text}`. Raises `Unparsed`."""
    verdict = _read(reply, "better")
    if verdict["better"] not in ("first", "second", "tie"):
        raise Unparsed(f"better is {verdict['better']!r:.80}; expected first, second or tie")
    return Preference(verdict["better"], verdict["reason"])


def _read(reply: str, key: str) -> dict[str, Any]:
    """Return the object that is the whole reply, thinking and a code fence around it aside."""
    try:
        # The whole first: a reason may speak of <think>, as text.
        verdict = _parsed(reply)
    except (ValueError, RecursionError):
        try:
            verdict = _parsed(final_answer_text(reply))
        except (ValueError, RecursionError) as error:
            raise Unparsed(f"not JSON: {error}") from None
    if not isinstance(verdict, dict) or set(verdict) != {key, "reason"}:
        raise Unparsed(f"{reply!r:.80}; expected an object with {key!r} and 'reason' alone")
    if not isinstance(verdict["reason"], str):
        raise Unparsed(f"reason is {verdict['reason']!r:.80}; expected a text")
    return verdict


def _parsed(text: str) -> Any:
    text = text.strip().lstrip("\ufeff")
    if fenced := _FENCE.fullmatch(text):
        text = fenced["body"]
    # Outside of a text no backslash may stand, doubled or not.
    text = _BACKSLASH.sub(lambda found: found["escape"] or r"\\", text)
    return json.loads(text, strict=False, object_pairs_hook=_once, parse_constant=_refuse)


Value = TypeVar("Value")


def _once(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")
