"""How an episode ended, and why.

`terminated`: the outcome is decided, for an answer was given, or the model ended without one.
`truncated`: a limit of the policy's cut the episode, and `reason` names the limit. `failed`: our
own machinery lost it (a server, a sandbox, a grader that could not decide, our wall time); such an
episode has no reward at all, and training masks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import UsageError, brief

Limit = Literal["turns", "tool_calls", "tokens", "seconds", "batch_deadline"]
WALL_TIME: Final = ("seconds", "batch_deadline")
"""Limits on time that our machinery spends too; see `EpisodeLimits.timed`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an episode. Made by `answered`, `unanswered`, `cut` and `lost`."""

    kind: Literal["terminated", "truncated", "failed"]
    reason: str
    detail: str = ""

    @classmethod
    def answered(cls, detail: str = "") -> Outcome:
        """The model gave its final answer."""
        return cls("terminated", "answered", detail)

    @classmethod
    def unanswered(cls) -> Outcome:
        """The model ended its final turn within its thinking; there is nothing to pay."""
        return cls("terminated", "unclosed_thinking")

    @classmethod
    def cut(cls, limit: Limit, detail: str = "") -> Outcome:
        """The limit of that name ended the episode."""
        return cls("truncated", limit, detail)

    @classmethod
    def lost(cls, reason: str, detail: str = "") -> Outcome:
        """The machinery failed; the policy is not to blame."""
        return cls("failed", reason, detail)

    @property
    def terminated(self) -> bool:
        """Whether no further step can follow for a reason other than a limit."""
        return self.kind != "truncated"

    @property
    def truncated(self) -> bool:
        """Whether a limit ended the episode."""
        return self.kind == "truncated"

    @property
    def failed(self) -> bool:
        """Whether the episode must not be learned from."""
        return self.kind == "failed"

    def to_json(self) -> dict[str, str]:
        """Return the three fields."""
        return {"kind": self.kind, "reason": self.reason, "detail": self.detail}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Outcome:
        """Read what `to_json` wrote."""
        return cls(value["kind"], value["reason"], value.get("detail", ""))


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """Bounds on an episode. None means no bound.

    `turns` counts the model's turns, `tool_calls` its requests, `tokens` everything after the
    prompt (the model's, the tools' and a user's tokens), `seconds` wall time since the reset.

    An episode that the first three cut is truncated and paid 0, or with `grade_truncated` what the
    rubric gives for what was reached: its last answer and the state of its tool sets. Wall time is
    not the policy's: tools, servers and other episodes spend it too. So an episode that `seconds`,
    or the deadline of a batch, ended is lost and not learned from, unless the task is `timed`: then
    it is truncated like any other.
    """

    turns: int | None = 16
    tool_calls: int | None = 32
    tokens: int | None = None
    seconds: float | None = None
    grade_truncated: bool = False
    timed: bool = False

    def __post_init__(self) -> None:
        check_positive("limit seconds", self.seconds, optional=True)
        for name in ("turns", "tool_calls", "tokens"):
            check_whole(f"limit {name}", getattr(self, name), optional=True)
        for name in ("grade_truncated", "timed"):
            if not isinstance(value := getattr(self, name), bool):
                raise UsageError(f"limit {name}: {brief(value)}; expected True or False")
