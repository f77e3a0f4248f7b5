"""How an episode ended, and why.

`terminated`: the outcome is decided, for an answer was given, or the model ended without one.
`truncated`: a limit cut the episode, and `reason` names the limit. `failed`: our own machinery lost
it (a server, a sandbox, a grader that could not decide); such an episode has no reward at all, and
training masks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from qwq_env.checks import check_positive, check_whole

Limit = Literal["turns", "tool_calls", "tokens", "seconds", "batch_deadline"]


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
    prompt (the model's and the tools' tokens), `seconds` wall time since the reset.
    """

    turns: int | None = 16
    tool_calls: int | None = 32
    tokens: int | None = None
    seconds: float | None = 600.0

    def __post_init__(self) -> None:
        check_positive("limit seconds", self.seconds, optional=True)
        for name in ("turns", "tool_calls", "tokens"):
            check_whole(f"limit {name}", getattr(self, name), optional=True)
