"""A finished episode as token ids: what was sampled, what was read, and what it was worth.

`ids` is the prompt followed by the completion. `mask` and `logprobs` run over the completion:
mask 1 exactly on the ids that the policy sampled, with the log-probability they were drawn
with; mask 0 and log-probability 0.0 on what the environment wrote. Nothing in `ids` was ever
rendered twice, so what is trained on is what was sampled.

The row (`to_json`), schema 4, is one JSON object. What a table of episodes shows comes first, so
that it can be read without the rest; a key whose value is its default is left out. In a file it
stands shorter, see `qwq_env.short_rows`, and shares texts, see `qwq_env.rollout.lexicon`.

| key | value |
| --- | --- |
| `schema` | 4 |
| what the writer added | such as `phase` (`cold`, `grpo`, `trained`, `greedy`) |
| `step` | if the writer added it: the training step, from 1 as in `metrics.jsonl` |
| `task_id`, `episode`, `seed` | see `Trajectory` |
| `environment` | the id or class of the environment; of a mixture the member's name |
| `outcome` | `{"kind", "reason", "detail"}` |
| `reward`, `right`, `scores` | null where lost or undecided |
| `reasons` | why each component was what it was: `{name: [reason, detail, extracted]}` |
| `counts`, `turns`, `tool_calls`, `attempts`, `tokens`, `weight_version` | see `Trajectory` |
| `seconds` | wall seconds by phase: `model`, `tools`, `grading`, `waiting`, `user` |
| `prompt_length`, `length` | ids of the prompt, and all ids of the last row |
| `tail` | bytes from here to the line's end, the comma and the line feed included |
| `transcript` | the text: blocks `[by, [[kind, text, {...}], markup, ...]]` of `segments.py` |
| `answer`, `reference`, `messages` | see `Trajectory` |
| `spans` | `[[tokens, author], ...]` one behind the other |
| `ids`, `logprobs`, `mask` | columns, see `qwq_env.columns`; `logprobs` of sampled ids only |
| `earlier` | rows before the last, each `{"ids", "prompt_length", "logprobs", "mask"}` |

What the trainer makes of the sampled ids comes later, and lies in a file of its own: see
`qwq_env.rollout.ratios`.

Rows of version 3 stand in full in their file. Those of version 2 do, too, and count their `step`
from 0; so do rows without a schema (version 1), which hold lists of numbers and no text. All of
them are read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qwq_env.checks import is_number
from qwq_env.columns import (
    pack_floats,
    pack_ids,
    pack_mask,
    unpack_floats,
    unpack_ids,
    unpack_mask,
)  # fmt: skip
from qwq_env.errors import brief
from qwq_env.outcome import Outcome
from qwq_env.segments import Block

if TYPE_CHECKING:
    from qwq_env.episode import Author  # it brings all that an episode is played with

SCHEMA: Final = 4
"""The version of the stored row."""
HEAD_ENDS: Final = "transcript"
"""The first key behind what a table shows."""


def step_of(row: Mapping[str, Any]) -> Any:
    """Return the training step of a stored row, from 1; None if it has none.

    It is the step that `metrics.jsonl` tells of, which was made of this episode.
    """
    step = row.get("step")
    return step + 1 if row.get("schema", 1) in (1, 2) and type(step) is int else step


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

    @classmethod
    def rounded(cls, *seconds: float) -> PhaseSeconds:
        """Return whole microseconds: no clock here is better, and rows are shorter."""
        return cls(*(round(second, 6) for second in seconds))


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode. Lengths: `ids` (prompt + completion,), `mask` and `logprobs` (completion,).

    `reward` is None for an episode that was lost; training masks it. `scores` are the rubric's
    components, None where undecided. `counts` tallies the tool requests by outcome. `answer` is
    what was graded, `reference` what it was graded against. `tokens` counts those after the prompt
    by who wrote them (`policy`, `tool`, `user`), all turns together, thinking included. `right` is
    what the rubric says of it (`Rubric.right`), None where nobody asked it; see `is_right`.

    `weight_version` is the trainer's step of the weights that sampled its first turn, None where
    no trainer said (`Policy.weights_pushed`). `environment` is the id or the class of what it was
    played in, of a mixture the member's name.

    `transcript` is its text (`qwq_env.segments`). `reasons` are each component's reason, detail,
    and what the grader took for the answer.

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
    environment: str = ""
    transcript: list[Block] = field(default_factory=list)
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)

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

    def to_json(self, *, whole: bool = True) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads back to an equal trajectory.

        Without `whole` it has neither text nor tokens: what a table shows, and no more.
        """
        head = {name: getattr(self, name) for name in _HEAD}
        head = {n: v for n, v in head.items() if n not in _DEFAULTS or v != _DEFAULTS[n]}
        head["outcome"] = {name: text for name, text in self.outcome.to_json().items() if text}
        seconds = {name: second for name, second in self.seconds._asdict().items() if second}
        row = {"schema": SCHEMA, **head, "seconds": seconds, "length": len(self.ids)}
        tail: dict[str, Any] = {HEAD_ENDS: []}
        if whole:
            tail = {HEAD_ENDS: [block.to_json() for block in self.transcript]}
            tail |= {"answer": self.answer, "reference": self.reference}
            tail |= {"messages": list(self.messages)} if self.messages else {}
            tail |= {"spans": _lengths(self.spans), **_columns(self.last_row)}
            earlier = [{"prompt_length": r.prompt_length, **_columns(r)} for r in self.earlier]
            tail |= {"earlier": earlier} if earlier else {}
        return {**row, **tail}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trajectory:
        """Read what `to_json` wrote; keys that it does not know are left out.

        A score that is no finite number is undecided, and a reward that is none makes it lost.
        Raises `ValueError`, `KeyError` or `TypeError` for what is no such row.
        """
        version = value.get("schema", 1)
        if not isinstance(version, int) or not 1 <= version <= SCHEMA:
            raise ValueError(f"schema {brief(version)}; expected {SCHEMA} at most: another version")
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        known["outcome"] = Outcome.from_json(value["outcome"])
        if (reward := known.get("reward")) is not None and not _is_finite(reward):
            known["outcome"] = Outcome.lost("undecided", f"a stored reward of {brief(reward)}")
            known["reward"] = None
        scores = known.get("scores") or {}
        known["scores"] = {n: score if _is_finite(score) else None for n, score in scores.items()}
        known["seconds"] = PhaseSeconds(**value["seconds"])
        known["spans"] = _spans(value.get("spans", ()))
        known["transcript"] = [Block.from_json(block) for block in value.get("transcript", ())]
        known |= _row_of(value)._asdict()
        known["earlier"] = [_earlier(row) for row in value.get("earlier", ())]
        return cls(**known)


_HEAD: Final = (
    "task_id", "episode", "seed", "environment", "outcome", "reward", "right", "scores", "reasons",
    "counts", "turns", "tool_calls", "attempts", "tokens", "weight_version", "prompt_length",
)  # fmt: skip
_DEFAULTS: Final = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory()
    for each in fields(Trajectory)
    if each.default is not MISSING or each.default_factory is not MISSING
}


def _columns(row: TrainingRow) -> dict[str, Any]:
    mask, logprobs = row.mask, row.logprobs
    packed_mask = pack_mask(mask)
    # Columns that no policy of ours makes stay lists: a mask of other numbers, unpaired lengths.
    if not isinstance(packed_mask, str) or len(mask) != len(logprobs):
        return {"ids": pack_ids(row.ids), "logprobs": list(logprobs), "mask": list(mask)}
    if any(compress(logprobs, map(not_, mask))):
        return {"ids": pack_ids(row.ids), "logprobs": list(logprobs), "mask": packed_mask}
    sampled = pack_floats([*compress(logprobs, mask)])
    return {"ids": pack_ids(row.ids), "logprobs": sampled, "mask": packed_mask}


def _row_of(value: Mapping[str, Any]) -> TrainingRow:
    """Read a row's columns: texts are packed, lists are as they are."""
    mask, logprobs = value.get("mask", []), value.get("logprobs", [])
    mask = unpack_mask(mask) if isinstance(mask, str) else list(mask)
    if isinstance(logprobs, str):
        sampled = unpack_floats(logprobs)
        if len(sampled) != sum(mask):
            raise ValueError(f"{len(sampled)} log-probabilities for {sum(mask)} sampled ids")
        drawn = iter(sampled)
        logprobs = [next(drawn) if one else 0.0 for one in mask]
    ids = value.get("ids", [])
    ids = unpack_ids(ids) if isinstance(ids, str) else list(ids)
    return TrainingRow(ids, value["prompt_length"], mask, list(logprobs))


def _earlier(row: Any) -> TrainingRow:
    return _row_of(row) if isinstance(row, Mapping) else TrainingRow(*row)


def _lengths(spans: Sequence[Span]) -> list[list[Any]]:
    """Return spans by their lengths, where each begins at the end of the one before."""
    ends = [0, *(span.end for span in spans)]
    if any(span.start != end for span, end in zip(spans, ends, strict=False)):
        return [list(span) for span in spans]
    return [[span.end - span.start, span.author] for span in spans]


def _spans(stored: Sequence[Sequence[Any]]) -> list[Span]:
    spans: list[Span] = []
    for span in stored:
        if len(span) == 3:
            spans.append(Span(*span))
        else:
            start = spans[-1].end if spans else 0
            spans.append(Span(start, start + span[0], span[1]))
    return spans


def _is_finite(value: object) -> bool:
    return is_number(value) and math.isfinite(value)
