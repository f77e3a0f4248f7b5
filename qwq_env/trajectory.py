"""A finished episode as token ids: what was sampled, what was read, and what it was worth.

`ids` is the prompt followed by the completion. `mask` and `logprobs` run over the completion:
mask 1 exactly on the ids that the policy sampled, with the log-probability they were drawn
with; mask 0 and log-probability 0.0 on what the environment wrote. Nothing in `ids` was ever
rendered twice, so what is trained on is what was sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from qwq_env.checks import is_number
from qwq_env.episode import Author
from qwq_env.errors import brief
from qwq_env.outcome import Outcome


class Span(NamedTuple):
    """Who wrote `ids[start:end]` of a trajectory."""

    start: int
    end: int
    author: Author


class TrainingRow(NamedTuple):
    """Token ids to learn from: `ids` (prompt + completion,), the rest (completion,)."""

    ids: list[int]
    prompt_length: int
    mask: list[int]
    logprobs: list[float]

    @property
    def prompt_ids(self) -> list[int]:
        """The ids before the policy's first token."""
        return self.ids[: self.prompt_length]

    @property
    def completion_ids(self) -> list[int]:
        """The ids from the policy's first token on, tools' included."""
        return self.ids[self.prompt_length :]


class PhaseSeconds(NamedTuple):
    """Wall seconds of an episode by phase.

    `waiting` is for a place among the running episodes, from the beginning of the batch to that of
    the first attempt. Waiting for a place inside a policy or its server is part of `model`; `user`
    is for a user's replies (`ToolEnv.reply`). Of an episode that was tried again, the other phases
    are those of the attempt that counts.
    """

    model: float = 0.0
    tools: float = 0.0
    grading: float = 0.0
    waiting: float = 0.0
    user: float = 0.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode. Lengths: `ids` (prompt + completion,), `mask` and `logprobs` (completion,).

    `reward` is None for an episode that was lost; training masks it. `scores` are the rubric's
    components, None where undecided. `counts` tallies the tool requests by outcome. `answer` is
    what was graded, `reference` what it was graded against. `tokens` counts those after the prompt
    by who wrote them (`policy`, `tool`, `user`), all turns together, thinking included. `right` is
    what the rubric says of it (`Rubric.right`), None where nobody asked it; see `is_right`.

    `weight_version` is the trainer's step of the weights that sampled its first turn, None where
    no trainer said (`Policy.weights_pushed`).

    An episode over a chat interface has `messages` and no ids.

    Where earlier thinking was stripped from the context, `ids` are those of the last turn and its
    context, and `earlier` holds a row for each turn before it; all of them share the reward.
    """

    task_id: str
    episode: str
    seed: int
    ids: list[int]
    prompt_length: int
    mask: list[int]
    logprobs: list[float]
    spans: list[Span]
    outcome: Outcome
    reward: float | None
    answer: str = ""
    reference: Any = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    turns: int = 0
    tool_calls: int = 0
    attempts: int = 1
    seconds: PhaseSeconds = PhaseSeconds()
    earlier: list[TrainingRow] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    tokens: Mapping[str, int] = field(default_factory=dict)
    right: bool | None = None
    weight_version: int | None = None

    @property
    def is_right(self) -> bool:
        """Whether it counts as right: as the rubric said, or else by a whole reward (1 or more)."""
        if self.reward is None:
            return False
        return self.reward >= 1.0 if self.right is None else self.right

    @property
    def rows(self) -> list[TrainingRow]:
        """All rows to learn from, in the order they were sampled; one if thinking was kept."""
        return [*self.earlier, self.last_row]

    @property
    def last_row(self) -> TrainingRow:
        """The row of `ids`: the whole episode, or its last turn where thinking was stripped."""
        return TrainingRow(self.ids, self.prompt_length, self.mask, self.logprobs)

    @property
    def prompt_ids(self) -> list[int]:
        """See `TrainingRow`."""
        return self.last_row.prompt_ids

    @property
    def completion_ids(self) -> list[int]:
        """See `TrainingRow`."""
        return self.last_row.completion_ids

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads back to an equal trajectory."""
        # `asdict` would copy token after token.
        value = {name: _copy(getattr(self, name)) for name in self.__dataclass_fields__}
        value["outcome"] = self.outcome.to_json()
        value["spans"] = [list(span) for span in self.spans]
        value["seconds"] = self.seconds._asdict()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trajectory:
        """Read what `to_json` wrote; keys that it does not know are left out.

        A score that is no finite number is undecided, and a reward that is none makes it lost.
        """
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["outcome"] = Outcome.from_json(value["outcome"])
        if (reward := known.get("reward")) is not None and not _is_finite(reward):
            known["outcome"] = Outcome.lost("undecided", f"a stored reward of {brief(reward)}")
            known["reward"] = None
        scores = known.get("scores") or {}
        known["scores"] = {n: score if _is_finite(score) else None for n, score in scores.items()}
        known["spans"] = [Span(*span) for span in value["spans"]]
        known["seconds"] = PhaseSeconds(**value["seconds"])
        known["earlier"] = [TrainingRow(*row) for row in value.get("earlier", ())]
        return cls(**known)


def _is_finite(value: object) -> bool:
    return is_number(value) and math.isfinite(value)  # type: ignore[arg-type]


def _copy(value: Any) -> Any:
    """Return a copy such that what is added to or taken from the one is not so in the other."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.copy() if type(value) is list else value
