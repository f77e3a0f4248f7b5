"""The contract of a chat model: messages in, a reply out.

One that is evaluated is a policy of the engine; one that plays a user (`qwq_env.users.ChatUser`)
is part of an environment. `qwq_env.http.openai_chat.OpenAIChat` is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from qwq_env.checks import is_number
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.turn import MalformedCall, ToolCall


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 keep everything."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if not (is_number(self.temperature) and 0 <= self.temperature <= 10):
            raise UsageError(
                f"temperature: {brief(self.temperature)}; expected a number from 0 to 10"
            )
        if not (is_number(self.top_p) and 0 < self.top_p <= 1):
            raise UsageError(f"top_p: {brief(self.top_p)}; expected a number above 0, at most 1")
        if not (isinstance(self.top_k, int) and self.top_k >= 0):
            raise UsageError(f"top_k: {brief(self.top_k)}; expected 0 (off) or more")


class ChatReply(NamedTuple):
    """A reply: its thinking and its content as texts, and the calls it made natively.

    `thinking` is what came apart from the content, in the field `thinking_key`: None for
    `reasoning_content`, if there is any, and `""` for none that could hold it on the way back.
    Thinking that came inline is in the content still. `native` holds the wire form of the calls as
    the model wrote them, one for each of the `requests`, or none. `tokens` is what the server
    counted of the reply, thinking included, and `prompt_tokens` of all before it; None if it did
    not say.
    """

    thinking: str
    content: str
    requests: tuple[ToolCall | MalformedCall, ...] = ()
    native: tuple[Mapping[str, Any], ...] = ()
    finish_reason: Literal["stop", "length"] = "stop"
    tokens: int | None = None
    prompt_tokens: int | None = None
    thinking_key: str | None = None


class Unwanted(InfrastructureError):
    """The server will not answer this one conversation, however often it is asked."""


class ChatModel(ABC):
    """Something that answers messages. Safe for many concurrent calls.

    `native_tools` says that it takes tool schemas. One that does not is told of the tools in the
    dialect's own words and has to write its calls as the dialect does.
    """

    native_tools: bool = True

    @abstractmethod
    async def reply(
        self,
        messages: Messages,
        tools: Schemas,
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str] = (),
    ) -> ChatReply:
        """Return one reply; its content ends with the first of the `stop` strings in it.

        Messages that fill the model's context get an empty reply with the reason "length", like a
        token policy's. Raises `Unwanted` for a conversation that the server turns down, another
        `InfrastructureError` when the machinery failed, and `UsageError` when the operator must
        act (a wrong key, address, model or setting).
        """

    async def aclose(self) -> None:
        """Free everything."""
        return None
