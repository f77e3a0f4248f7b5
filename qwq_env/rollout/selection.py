"""Which episodes of a run are looked at, as `qwq show` and `qwq export` are told."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, get_args

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.outcome import Limit
from qwq_env.rollout.stored import RowError, StoredEpisode, StoredRun

_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_REWARD: Final = re.compile(r"(<=|>=|<|>|=)?\s*(-?[0-9.]+(?:e[+-]?[0-9]+)?)", re.IGNORECASE)


_ENDS: Final = {"truncated", "failed", "tool_error", *get_args(Limit)}
"""What is no misspelling, also where it befell no episode."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that an episode meets, all of them; None asks for nothing.

    `task` is an id, or a pattern such as `gsm8k/*`. `reward` is a number, a comparison (`<0.5`), or
    `none` for what was lost. `failure` is the reason or the kind of an outcome (`tokens`,
    `truncated`, `failed`), or what went wrong with a call (`tool_error`, `malformed_json`, ...).
    `text` is a regular expression, sought in all that was written; case does not count. `worst`
    leaves that many, those of the lowest rewards first.
    """

    phase: str | None = None
    step: int | None = None
    task: str | None = None
    reward: str | None = None
    failure: str | None = None
    text: str | None = None
    worst: int | None = None

    def of(self, run: StoredRun) -> list[StoredEpisode]:
        """Return the episodes of `run` that meet it; what is damaged is named in `run.damaged`.

        Raises `UsageError` for a condition that cannot be read, and for a phase, step or failure
        that is not there.
        """
        paid, pattern = _reward(self.reward), _pattern(self.text)
        asked = {"phase": self.phase, "step": self.step}
        told = {name: value for name, value in asked.items() if value is not None}
        # Of a large run, reading all to show five of one step takes seconds.
        episodes = run.episodes(None, **told) or run.episodes()
        self._expect("phase", self.phase, {e.phase for e in episodes})
        self._expect("step", self.step, {e.step for e in episodes if self._in_phase(e)})
        if self.failure not in _ENDS:
            self._expect("failure", self.failure, {f for e in episodes for f in failures(e.head)})
        found = [e for e in episodes if self._meets(e) and paid(e.reward)]
        if pattern is not None:
            found = [e for e in found if _holds(e, pattern, run)]
        if self.worst is None:
            return found
        known = [e for e in found if e.reward is not None]
        return sorted(known, key=lambda e: e.reward or 0.0)[: self.worst]

    def _in_phase(self, episode: StoredEpisode) -> bool:
        return self.phase is None or episode.phase == self.phase

    def _meets(self, episode: StoredEpisode) -> bool:
        return (
            self._in_phase(episode)
            and (self.step is None or episode.step == self.step)
            and (self.task is None or episode.task == self.task
                 or fnmatchcase(episode.task, self.task))
            and (self.failure is None or self.failure in failures(episode.head))
        )  # fmt: skip

    def _expect(self, name: str, value: object, there: set[Any]) -> None:
        if value is None or value in there or not there:
            return
        if isinstance(value, int):
            steps = sorted(step for step in there if step is not None)
            what = f"{steps[0]} to {steps[-1]}" if steps else "none: no episode has a step"
            raise UsageError(f"{name}: {value}; expected one of {what}")
        if not any(there):
            raise UsageError(f"{name}: {brief(value)}; no episode has one")
        raise unknown(name, str(value), sorted(filter(None, there)))


def failures(head: Mapping[str, Any]) -> set[str]:
    """Return what `Selection.failure` may name in a row: its outcome's, and its calls'."""
    outcome, counts = head["outcome"], head.get("counts") or {}
    ended = set() if outcome["reason"] == "answered" else {outcome["kind"], outcome["reason"]}
    return ended - {"terminated"} | {name for name in counts if name != "ok"}


def _reward(wanted: str | None) -> Callable[[float | None], bool]:
    if wanted is None:
        return lambda reward: True
    if wanted.strip().lower() == "none":
        return lambda reward: reward is None
    match = _REWARD.fullmatch(wanted.strip())
    try:
        bound = float(match[2]) if match else None
    except ValueError:
        bound = None
    if match is None or bound is None:
        raise UsageError(f"reward: {brief(wanted)}; expected a number, such as <0.5, or none")
    compare = _COMPARED[match[1] or "="]
    return lambda reward: reward is not None and compare(reward, bound)


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"text: {brief(text)}: {error}; expected a regular expression") from None


def _holds(episode: StoredEpisode, pattern: re.Pattern[str], run: StoredRun) -> bool:
    try:
        return pattern.search(episode.text) is not None
    except RowError as error:
        run.damaged.append(error.damaged)
        return False
