"""Outcome rewards, composed.

A reward function sees the task, what the *model* wrote, and what its tools did, and gives a
`Score`. The texts that graders judge, `answer` and `turns`, are the model's alone: what a tool or a
user printed earns nothing, unless a function looks for it in `results` or `state` itself. The
reward of an episode is

    reward = gate_1 × gate_2 × ... × (base + weight_1 × score_1 + weight_2 × score_2 + ...)

bounded by `floor` and `cap`. So a rule that must hold is a gate, and "rule × (1 + λ × reward
model)" is

    Rubric(
        [Component("reward_model", by_reward_model(model), λ)],
        gates=[Component("rule", rule)],
        base=1.0,
    )

A component of weight 0 is logged and never paid. What could not be decided makes the reward
undecided, unless a gate has decided that there is none. A reward function that raises, or gives
what is no number to learn from (NaN, infinity, None, a text), has not decided either: its bug is
ours, not the policy's, so the episode is masked and not paid 0.

What is paid and what is right are two things: a reward model on top of rules may make a right
answer worth 0.8 or 1.4. An evaluation's accuracy is the share that is right; see `Rubric.right`.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from qwq_env.checks import is_number
from qwq_env.errors import EpisodeError, InfrastructureError, UsageError, brief, describe_error
from qwq_env.grading.reward.model import Candidate, RewardModel
from qwq_env.grading.score import Score
from qwq_env.task import Task
from qwq_env.turn import CallResult, Turn

_log = logging.getLogger(__name__)

_LARGEST: Final = 1e15
"""Trainers compute in single precision, where the squares of a batch of larger rewards add up to
infinity, and one of them spoils the advantages of its whole group."""


_NO_STATE: Final[Mapping[str, Any]] = {}


class FinalTurn(NamedTuple):
    """All that a reward function may judge by.

    `answer` is the model's final answer: the text of its last turn after the thinking; of an
    episode that was cut (`EpisodeLimits.grade_truncated`), that of the last turn that has one.
    `turns` are all turns of the model, for rewards that look at its thinking or its calls.
    `results` are what all its calls got, in the order of the calls, with their metadata. `state` is
    what each tool set said at the end (`ToolSet.state`), by the name of its class; asking for a
    set that has no `state` is a `UsageError`.
    """

    task: Task
    answer: str
    turns: tuple[Turn, ...]
    results: tuple[CallResult, ...] = ()
    state: Mapping[str, Any] = _NO_STATE


RewardFunction = Callable[[FinalTurn], Score | float | Awaitable[Score | float]]


@dataclass(frozen=True, slots=True)
class Component:
    """A named reward function and its weight (unused for gates)."""

    name: str
    function: RewardFunction
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            how = f": {wrapped(self.name)}" if callable(self.name) else ""
            raise UsageError(
                f"component, name: {brief(self.name)}; expected a text, not empty{how}"
            )
        if not callable(self.function):
            raise UsageError(f"component {self.name}: {brief(self.function)}; expected a function")
        if not is_number(self.weight) or not math.isfinite(self.weight):
            raise UsageError(f"weight of {self.name}: {self.weight!r}; expected a finite number")


class Reward(NamedTuple):
    """The reward of an episode, None if undecided, and each component's score by name."""

    value: float | None
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Rubric:
    """Components and gates, composed as the module's docstring says.

    `right` names those that must all score 1 for an episode to count as right. Left empty, these
    are the gates and, unless a base pays for the gates by themselves, the components of the largest
    weight: the rest is a bonus.
    """

    components: Sequence[Component] = ()
    gates: Sequence[Component] = ()
    base: float = 0.0
    floor: float = -float("inf")
    cap: float = float("inf")
    right: Sequence[str] = ()
    names: tuple[str, ...] = field(init=False)
    _told: set[tuple[str, object]] = field(
        init=False, repr=False, compare=False, default_factory=set
    )

    def __post_init__(self) -> None:
        for field_name in ("components", "gates"):
            _check_parts(field_name, getattr(self, field_name))
        names = tuple(part.name for part in (*self.gates, *self.components))
        if not names:
            raise UsageError("rubric: no component and no gate; expected at least one")
        if len(set(names)) != len(names):
            raise UsageError(f"rubric: two components share a name: {', '.join(names)}")
        for name in self.right:
            if name not in names:
                known = ", ".join(names)
                raise UsageError(f"rubric, right: {brief(name)}; expected some of: {known}")
        if not self.components and self.base == 0:
            raise UsageError("base: 0 and no component; expected a base for the gates to pay")
        if not is_number(self.base) or abs(self.base) > _LARGEST:
            raise UsageError(f"base: {self.base!r}; expected a number of at most {_LARGEST:g}")
        if not (is_number(self.floor) and is_number(self.cap) and self.floor <= self.cap):
            raise UsageError(f"floor: {self.floor!r}; expected at most the cap, {self.cap!r}")
        if self.floor > _LARGEST or self.cap < -_LARGEST:
            raise UsageError(f"floor: {self.floor!r}, cap: {self.cap!r}; expected finite rewards")
        object.__setattr__(self, "names", names)

    async def grade(self, final: FinalTurn) -> Reward:
        """Score a final turn. A gate that gives 0 decides at once; the rest is not asked.

        Nor are components that a gate has left undecided: they may be dear, and change nothing.

        A function that raises leaves its score undecided, with the reason `crash`, and one that
        gives no number of at most 1e15 with the reason `no_number`; where the weighted sum leaves
        those bounds, the score at which it does is `overflow`. Each is logged once for each
        component and kind. Raises `InfrastructureError` and `UsageError` where a function does.
        """
        scores: dict[str, Score] = {}
        factor: float | None = 1.0
        for gate in self.gates:
            score = scores[gate.name] = await self._ask(gate, final)
            if score.value == 0:
                return Reward(self._bounded(0.0), scores)
            factor = self._within(scores, gate.name, _times(factor, score.value))
        total = _times(factor, self.base)
        if self.gates:
            total = self._within(scores, self.gates[-1].name, total)
        if factor is None or total is None:
            return Reward(None, scores)
        total = self.base
        for part in self.components:
            score = scores[part.name] = await self._ask(part, final)
            if part.weight == 0:
                continue
            paid = _times(part.weight, score.value)
            total = None if total is None or paid is None else total + paid
            if self._within(scores, part.name, _times(factor, total)) is None:
                total = None
        return Reward(None if total is None else self._bounded(factor * total), scores)

    def is_right(self, reward: Reward) -> bool:
        """Say whether an episode of this reward counts as right; see `right`."""
        names = self.right or self._decisive()
        if not names:  # nothing but penalties: right is what keeps a whole reward
            return reward.value is not None and reward.value >= 1
        scores = [reward.scores.get(name) for name in names]
        return all(s is not None and s.value is not None and s.value >= 1 for s in scores)

    def _decisive(self) -> list[str]:
        names = [gate.name for gate in self.gates]
        if not names or self.base == 0:
            most = max((part.weight for part in self.components), default=0.0)
            names += [part.name for part in self.components if part.weight == most > 0]
        return names

    def refuse(self, reason: str) -> Reward:
        """The reward of a final turn without an answer: 0 for everything, and nobody is asked."""
        return Reward(self._bounded(0.0), dict.fromkeys(self.names, Score.wrong(reason)))

    async def _ask(self, part: Component, final: FinalTurn) -> Score:
        try:
            given = part.function(final)
            if inspect.isawaitable(given):
                given = await given
        except (EpisodeError, InfrastructureError, UsageError):
            raise
        # Exits too: one would end the event loop, and every other episode with it.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to foreign reward code
            return self._crashed(part.name, error)
        value = given.value if isinstance(given, Score) else given
        if isinstance(given, Score) and value is None:
            return given
        number = _number(value)
        if number is None or not abs(number) <= _LARGEST:
            detail = f"gave {brief(value)}; expected a Score or a number of at most {_LARGEST:g}"
            return self._odd(part.name, "no_number", detail)
        return replace(given, value=number) if isinstance(given, Score) else Score(number, "given")

    def _within(self, scores: dict[str, Score], name: str, value: float | None) -> float | None:
        """Return `value`, or None where it is out of bounds: then the score `name` is undecided."""
        if value is None or abs(value) <= _LARGEST:
            return value
        detail = f"{brief(scores[name].value)} makes the reward {value:g}"
        scores[name] = self._odd(name, "overflow", detail)
        return None

    def _odd(self, name: str, reason: str, detail: str) -> Score:
        if (name, reason) not in self._told:
            self._told.add((name, reason))
            _log.error("reward %s %s; such episodes are not learned from", name, detail)
        return Score.undecided(reason, detail)

    def _crashed(self, name: str, error: BaseException) -> Score:
        if (name, type(error)) not in self._told:
            self._told.add((name, type(error)))
            _log.error("reward %s raised; its episodes are not learned from", name, exc_info=error)
        return Score.undecided("crash", describe_error(error))

    def _bounded(self, value: float) -> float:
        return min(max(value, self.floor), self.cap)


def by_reward_model(model: RewardModel, *, reference: bool = False) -> RewardFunction:
    """Return the reward function that asks `model` about the final answer, and nothing else.

    `reference` shows it the task's reference answer too, for a judge whose rubric speaks of one.
    Raises `UsageError` for a model that scores groups: a reward function sees one episode.
    """
    if model.needs_group:
        name = type(model).__name__
        raise UsageError(f"model: {name} compares the answers of a group; see training.GroupReward")
    return _ByRewardModel(model, reference)


@dataclass(frozen=True, slots=True)
class _ByRewardModel:
    """A reward function that can be pickled when its model can."""

    model: RewardModel
    reference: bool

    async def __call__(self, final: FinalTurn) -> Score:
        [score] = await self.model.score([candidate_of(final.task, final.answer, self.reference)])
        return score


def candidate_of(task: Task, answer: str, reference: bool = False) -> Candidate:
    """Return what a reward model sees of an episode."""
    known = "" if not reference or task.answer is None else str(task.answer)
    return Candidate(task.messages or task.prompt, answer, known)


def wrapped(given: object) -> str:
    """Return how a reward function, a component or a list of them is made a part of a rubric.

    "" for what is none of them: it says nothing of what was meant.
    """
    if isinstance(given, Component):
        return "Rubric([component])"
    if isinstance(given, list | tuple):
        inner = wrapped(given[0]) if given else ""
        return "Rubric([...])" if inner == "Rubric([component])" else inner
    if not callable(given):
        return ""
    name = getattr(given, "__name__", "reward").strip("<>")
    named = name if name.isidentifier() and name != "lambda" else "reward"
    return f'Rubric([Component("{named}", {named})])'


def _check_parts(name: str, parts: object) -> None:
    how = f": {said}" if (said := wrapped(parts)) else ""
    if not isinstance(parts, list | tuple):
        raise UsageError(f"rubric, {name}: {brief(parts)}; expected a list of Components{how}")
    for part in parts:
        if not isinstance(part, Component):
            how = f": {wrapped(part)}" if callable(part) else ""
            raise UsageError(f"rubric, {name}: {brief(part)}; expected a Component{how}")


def _times(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left * right


def _number(value: Any) -> float | None:
    """Return the number that `value` is, also NumPy's or a tensor's; None for what is none.

    A text that spells a number is a text.
    """
    if isinstance(value, str) or not hasattr(type(value), "__float__"):
        return None
    try:
        return float(value)
    except Exception:  # noqa: BLE001 - the boundary to foreign reward code: any object's own method
        return None
