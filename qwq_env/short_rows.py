"""Rows as they are written: short. What the rest of a row says is not said again.

Most episodes of a small policy are as long as a sentence, and the same words around each of them
would take more room than its tokens. So `shortened` leaves out what `in_full` puts back:

| key | left out, or written as |
| --- | --- |
| `outcome` | left out where an answer was given and there is no detail |
| `right` | left out where it is whether the reward is 1 or more; null where nobody asked |
| `seconds` | a list: model, tools, grading, waiting, user; zeros at its end are left out |
| `tokens` | likewise a list: policy, tool, user |
| `answer` | left out where it is the text of the last turn's `answer` segments, stripped |
| `spans` | `"29p2h14a17o7a"`: tokens of the prompt, thinking, answer, observation (tool), user |
| `mask` | left out where `spans` say it: 1 on thinking and answer |

The texts that rows share are no affair of this module, see `Lexicon`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from qwq_env.checks import is_number
from qwq_env.trajectory import PhaseSeconds, step_of

_ANSWERED: Final = {"kind": "terminated", "reason": "answered"}
_LETTERS: Final = {"task": "p", "thinking": "h", "answer": "a", "tool": "o", "user": "u"}
_AUTHORS: Final = {letter: author for author, letter in _LETTERS.items()}
_WRITERS: Final = ("policy", "tool", "user")
_SAMPLED: Final = ("thinking", "answer")
_SPANS: Final = re.compile(r"(?:[0-9]{1,9}[phaou])*")
_SPAN: Final = re.compile(r"([0-9]+)([phaou])")
_LONGEST: Final = 10**9 - 1
_SHORT_SINCE: Final = 4


def shortened(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `Trajectory.to_json` as it is written."""
    row: dict[str, Any] = {}
    for key, value in whole.items():
        if key != "right":
            row[key] = value
        if key == "reward" and (right := whole.get("right")) is not _right(row):
            row["right"] = right  # in the head, where the table looks for it
    if row["outcome"] == _ANSWERED:
        del row["outcome"]
    row["seconds"] = _listed(row["seconds"], PhaseSeconds._fields)
    if "tokens" in row:
        row["tokens"] = _listed(row["tokens"], _WRITERS)
    if "answer" in row and row["answer"] == _answer(row["transcript"]):
        del row["answer"]
    spans = row.get("spans")
    if spans and all(map(_is_plain, spans)):
        if row["mask"] == _mask(spans, row["prompt_length"]):
            del row["mask"]
        row["spans"] = "".join(f"{length}{_LETTERS[author]}" for length, author in spans)
    return row


def head_in_full(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that was written, or its head, of any version, with its head as in this one.

    It is for rows as they stand in the file: the step of an old one is counted anew each time.
    """
    full = dict(row)
    if "step" in full:
        full["step"] = step_of(row)
    if _is_short(row):
        full.setdefault("outcome", dict(_ANSWERED))
        if full.setdefault("right", _right(full)) is None:
            del full["right"]
        for key, names in (("seconds", PhaseSeconds._fields), ("tokens", _WRITERS)):
            if isinstance(numbers := full.get(key), list):
                named = zip(names, numbers, strict=False)
                full[key] = {name: number for name, number in named if number}
    return full


def in_full(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that was written, of any version, as `Trajectory.from_json` reads it.

    Raises `ValueError`, `TypeError`, `KeyError` or `IndexError` for what is no such row.
    """
    full = head_in_full(row)
    if not _is_short(row):
        return full
    if isinstance(spans := full.get("spans"), str):
        if not _SPANS.fullmatch(spans):
            raise ValueError(f"spans {spans[:40]!r}; expected such as '29p2h14a'")
        told = [[int(length), _AUTHORS[letter]] for length, letter in _SPAN.findall(spans)]
        full["spans"] = told
        full.setdefault("mask", _mask(told, full["prompt_length"]))
    if "ids" in full and "answer" not in full:
        full["answer"] = _answer(full.get("transcript", ()))
    return full


def _is_plain(span: Sequence[Any]) -> bool:
    return len(span) == 2 and 0 <= span[0] <= _LONGEST and span[1] in _LETTERS


def _is_short(row: Mapping[str, Any]) -> bool:
    version = row.get("schema")
    return isinstance(version, int) and version >= _SHORT_SINCE


def _right(row: Mapping[str, Any]) -> bool:
    """Return what `right` most often is; only a reward that is a number can make it true."""
    reward = row.get("reward")
    return is_number(reward) and reward >= 1.0


def _listed(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return numbers by name as a list; as they are, where that would lose one."""
    if not values.keys() <= set(names) or not all(values.values()):
        return values
    last = max((number for number, name in enumerate(names, 1) if name in values), default=0)
    return [values.get(name, 0) for name in names[:last]]


def _answer(transcript: Sequence[Any]) -> str:
    """Return what the last turn of the model says as its answer."""
    for by, segments in reversed(transcript):
        if by == "model":
            said = (s[1] for s in segments if isinstance(s, list) and s[0] == "answer")
            return "".join(said).strip()
    return ""


def _mask(spans: Sequence[Sequence[Any]], prompt: int) -> str | None:
    """Return the mask's column (`qwq_env.columns`) as spans tell it; None if the first of them is
    not the prompt."""
    if not spans or spans[0] != [prompt, "task"]:
        return None
    runs = [*_runs(spans[1:])]
    if runs and not runs[0][0]:
        runs.insert(0, (True, 0))
    return " ".join(str(length) for _, length in runs)


def _runs(spans: Sequence[Sequence[Any]]) -> Iterator[tuple[bool, int]]:
    for sampled, run in groupby(spans, lambda span: span[1] in _SAMPLED):
        yield sampled, sum(span[0] for span in run)
