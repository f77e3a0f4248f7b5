"""A finished episode as token ids: what was sampled, what was read, and what it was worth.

`ids` is the prompt followed by the completion. `mask` and `logprobs` run over the completion:
mask 1 exactly on the ids that the policy sampled, with the log-probability they were drawn
with; mask 0 and log-probability 0.0 on what the environment wrote. Nothing in `ids` was ever
rendered twice, so what is trained on is what was sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from qwq_env.episode import Author
from qwq_env.outcome import Outcome


class Span(NamedTuple):
    """Who wrote `ids[start:end]` of a trajectory."""

    start: int
    end: int
    author: Author


class PhaseSeconds(NamedTuple):
    """Wall seconds of an episode by phase; `waiting` is for a place among the running ones."""

    model: float = 0.0
    tools: float = 0.0
    grading: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode. Lengths: `ids` (prompt + completion,), `mask` and `logprobs` (completion,).

    `reward` is None for an episode that was lost; training masks it. `scores` are the rubric's
    components, None where undecided. `counts` tallies the tool requests by outcome. `answer` is
    what was graded, `reference` what it was graded against.
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

    @property
    def prompt_ids(self) -> list[int]:
        """The ids before the policy's first token."""
        return self.ids[: self.prompt_length]

    @property
    def completion_ids(self) -> list[int]:
        """The ids from the policy's first token on, tools' included."""
        return self.ids[self.prompt_length :]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads back to an equal trajectory."""
        value = asdict(self)
        value["outcome"] = self.outcome.to_json()
        value["spans"] = [list(span) for span in self.spans]
        value["seconds"] = self.seconds._asdict()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trajectory:
        """Read what `to_json` wrote; keys that it does not know are left out."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["outcome"] = Outcome.from_json(value["outcome"])
        known["spans"] = [Span(*span) for span in value["spans"]]
        known["seconds"] = PhaseSeconds(**value["seconds"])
        return cls(**known)


def audit(trajectory: Trajectory) -> list[str]:
    """Return what contradicts the promises of `Trajectory`; empty when it keeps them all."""
    problems = []
    completion = len(trajectory.ids) - trajectory.prompt_length
    if len(trajectory.mask) != completion:
        problems.append(f"mask has {len(trajectory.mask)} entries for {completion} ids")
    if len(trajectory.logprobs) != completion:
        problems.append(f"logprobs has {len(trajectory.logprobs)} entries for {completion} ids")
    position = 0
    for span in trajectory.spans:
        if span.start != position:
            problems.append(f"span at {span.start}; expected one at {position}")
        position = span.end
    if position != len(trajectory.ids):
        problems.append(f"spans end at {position} of {len(trajectory.ids)} ids")
    for span in trajectory.spans:
        if span.author == "task":
            continue
        wanted = int(span.author in ("thinking", "answer"))
        begin, end = span.start - trajectory.prompt_length, span.end - trajectory.prompt_length
        if any(bit != wanted for bit in trajectory.mask[begin:end]):
            problems.append(f"mask is not {wanted} throughout the {span.author} at {span.start}")
    return problems
