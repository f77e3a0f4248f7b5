"""What passes between a policy and an environment in one turn.

A `Turn` is what the model wrote, read by a dialect: its thinking, its answer, and the tool
calls it made, well-formed or not, in the order written. The environment answers with one
`CallResult` for each of them, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MAX_REQUESTS: Final = 128
"""Calls read of one turn: reading a broken one takes time in proportion to the whole turn."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A well-formed request: the tool's name and its arguments, not yet checked."""

    name: str
    arguments: Any
    raw: str = ""


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """A request that could not be read; `message` tells the model what is wrong.

    `kind` is a stable identifier for counting: `malformed_json`, `unclosed_tag`,
    `missing_name`, `unclosed_thinking`, ...
    """

    kind: str
    message: str
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the model: `text` is exactly what it wrote, the rest is how it reads.

    `requests` is empty in a final turn. `answer` is the text after the thinking, without the
    requests. `thinking_end` is the offset in `text` at which the thinking ends, its closing tag
    included. `closed` says that the text ends with the dialect's end-of-turn marker, written by
    the model itself. `unclosed_thinking` says that it ends within a thinking that was opened, by
    the model or by its prompt, and never closed: it is thinking to the end and has no answer.
    """

    text: str
    thinking: str = ""
    answer: str = ""
    requests: tuple[ToolCall | MalformedCall, ...] = ()
    thinking_end: int = 0
    closed: bool = False
    unclosed_thinking: bool = False

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The well-formed requests."""
        return tuple(request for request in self.requests if isinstance(request, ToolCall))

    @property
    def errors(self) -> tuple[MalformedCall, ...]:
        """The requests that could not be read."""
        return tuple(request for request in self.requests if isinstance(request, MalformedCall))


CallStatus = Literal["ok", "tool_error", "policy_error"]


@dataclass(frozen=True, slots=True)
class CallResult:
    """What one request got. `content` is all that the model sees.

    `status` says whose fault an error is: the policy's (`policy_error`: it cannot be run as
    written) or the tool's (`tool_error`: it ran and failed). `kind` names the error (`""`
    when there is none), `seconds` is wall time, `cut` the number of characters left out.
    """

    name: str
    content: str
    status: CallStatus = "ok"
    kind: str = ""
    seconds: float = 0.0
    cut: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
