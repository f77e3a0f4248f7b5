"""A curriculum: a member of a mixture goes up a ladder of difficulties as its pass rate allows.

Nothing moves by itself. Whoever plays says how an episode ended (`MixtureEnv.record`), and the
state is a small JSON value (`MixtureEnv.progress`), so that a run which goes on stands where it
stopped, and several processes that are told the same results in the same order draw the same tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from qwq_env.checks import check_positive, check_whole, is_number
from qwq_env.errors import UsageError, brief, unknown


@dataclass(frozen=True, slots=True)
class Curriculum:
    """When a member changes its level.

    After `window` graded episodes of its present level it goes a level up if at least the share
    `up` of the last `window` passed, and one down if less than `down` did; it begins to count anew
    there. An episode passes with a reward of `passing` or more.
    """

    window: int = 64
    up: float = 0.8
    down: float = 0.2
    passing: float = 1.0

    def __post_init__(self) -> None:
        check_whole("curriculum.window", self.window)
        check_positive("curriculum.passing", self.passing)
        for name in ("up", "down"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value <= 1:
                raise UsageError(f"curriculum.{name}: {brief(value)}; expected a share, 0 to 1")
        if self.down >= self.up:
            raise UsageError(f"curriculum.down: {self.down}; expected less than up, {self.up}")

    @classmethod
    def of(cls, given: Curriculum | Mapping[str, Any] | None) -> Curriculum:
        """Return the curriculum that is given by its fields, as a recipe does, or as it is."""
        if given is None or isinstance(given, Curriculum):
            return given or cls()
        if not isinstance(given, Mapping):
            raise UsageError(f"curriculum: {brief(given)}; expected a Curriculum, or its fields")
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("curriculum", name, known)
        return cls(**given)


class Ladder:
    """Where a member stands: its `level`, from 0 to `levels` - 1, and how its last episodes went.

    `recent` holds at most `window` of them, oldest first, all of the present level.
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.level = 0
        self.recent: list[bool] = []

    def note(self, reward: float, curriculum: Curriculum) -> None:
        """Count an episode of the present level, and change the level where it is time to."""
        self.recent.append(reward >= curriculum.passing)
        del self.recent[: -curriculum.window]
        if len(self.recent) < curriculum.window:
            return
        rate = sum(self.recent) / len(self.recent)
        step = 1 if rate >= curriculum.up else -1 if rate < curriculum.down else 0
        level = min(max(self.level + step, 0), self.levels - 1)
        if level != self.level:
            self.level, self.recent = level, []

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {"level": self.level, "recent": list(self.recent)}

    def read(self, state: object) -> tuple[int, list[bool]]:
        """Return the level and the recent episodes of what `to_json` gave, and change nothing.

        Raises `UsageError` for anything else, and for a level that there is not.
        """
        level = state.get("level") if isinstance(state, Mapping) else None
        recent = state.get("recent") if isinstance(state, Mapping) else None
        if type(level) is not int or not 0 <= level < self.levels:
            raise UsageError(f"level: {brief(level)}; expected 0 to {self.levels - 1}")
        if not isinstance(recent, list) or not all(isinstance(each, bool) for each in recent):
            raise UsageError(f"recent: {brief(recent)}; expected a list of true and false")
        return level, list(recent)
