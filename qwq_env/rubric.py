"""Outcome rewards, composed.

A reward function sees the task and what the *model* wrote, never a tool's output, and gives a
`Score`. The reward of an episode is

    reward = gate_1 × gate_2 × ... × (base + weight_1 × score_1 + weight_2 × score_2 + ...)

bounded by `floor` and `cap`. So a rule that must hold is a gate, and "rule × (1 + λ × reward
model)" is `Rubric([Component("style", model, λ)], gates=[Component("rule", rule)], base=1.0)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qwq_env.errors import UsageError
from qwq_env.grading.score import Score
from qwq_env.task import Task
from qwq_env.turn import Turn


class FinalTurn(NamedTuple):
    """All that a reward function may judge by.

    `answer` is the model's final answer: the text of its last turn after the thinking. `turns`
    are all turns of the model, for rewards that look at its thinking or its calls.
    """

    task: Task
    answer: str
    turns: tuple[Turn, ...]


RewardFunction = Callable[[FinalTurn], Score | float | Awaitable[Score | float]]


@dataclass(frozen=True, slots=True)
class Component:
    """A named reward function and its weight (unused for gates)."""

    name: str
    function: RewardFunction
    weight: float = 1.0


class Reward(NamedTuple):
    """The reward of an episode, None if undecided, and each component's score by name."""

    value: float | None
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Rubric:
    """Components and gates, composed as the module's docstring says."""

    components: Sequence[Component] = ()
    gates: Sequence[Component] = ()
    base: float = 0.0
    floor: float = -float("inf")
    cap: float = float("inf")
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(part.name for part in (*self.gates, *self.components))
        if not names:
            raise UsageError("rubric: no component and no gate; expected at least one")
        if len(set(names)) != len(names):
            raise UsageError(f"rubric: two components share a name: {', '.join(names)}")
        object.__setattr__(self, "names", names)

    async def grade(self, final: FinalTurn) -> Reward:
        """Score a final turn. A gate that gives 0 decides at once; the rest is not asked."""
        scores: dict[str, Score] = {}
        factor: float | None = 1.0
        for gate in self.gates:
            score = scores[gate.name] = await _ask(gate, final)
            if score.value == 0:
                return Reward(self._bounded(0.0), scores)
            factor = None if factor is None or score.value is None else factor * score.value
        total: float | None = self.base
        for part in self.components:
            score = scores[part.name] = await _ask(part, final)
            undecided = total is None or score.value is None
            total = None if undecided else total + part.weight * score.value  # type: ignore[operator]
        value = None if factor is None or total is None else self._bounded(factor * total)
        return Reward(value, scores)

    def _bounded(self, value: float) -> float:
        return min(max(value, self.floor), self.cap)


async def _ask(part: Component, final: FinalTurn) -> Score:
    given = part.function(final)
    if inspect.isawaitable(given):
        given = await given
    return given if isinstance(given, Score) else Score.partial(given, "given")
