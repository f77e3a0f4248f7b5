"""A chat model behind any OpenAI-compatible endpoint, as a policy for evaluation.

Thinking comes apart from the content or inline between `<think>` tags; calls as native
`tool_calls` or as text. The way to the server is `qwq_env.chat_client`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qwq_env.chat_client import ChatClient, Completion, NativeCall
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.rollout.chat import ChatModel, ChatReply
from qwq_env.rollout.policy import Sampling
from qwq_env.turn import MalformedCall, ToolCall


class OpenAIChat(ChatModel):
    """Asks `{base_url}/chat/completions` for `model`.

    At most `in_flight` requests are open at a time. What fails on the way (connection, 429, 5xx,
    a stream that breaks off) is tried `attempts` times, with waits that double. `extra` is merged
    into every request, such as `{"enable_thinking": true}`.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_variable: str = "OPENAI_API_KEY",
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 1800.0,
        native_tools: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """The key is the value of `api_key_variable`; without one, none is sent."""
        self._client = ChatClient(
            base_url,
            api_key_variable=api_key_variable,
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
        )
        self.base_url = self._client.base_url
        self.model = model
        self._native_tools = native_tools
        self._extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"OpenAIChat({self.base_url!r}, {self.model!r})"

    async def reply(
        self, messages: Messages, tools: Schemas, *, max_tokens: int, sampling: Sampling, seed: int
    ) -> ChatReply:
        """Return one reply; see `ChatModel.reply`."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_plain(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed & 0x7FFF_FFFF,
            **self._extra,
        }
        if tools and self._native_tools:
            body["tools"] = list(tools)
        return _reply_of(await self._client.complete(body))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _reply_of(completion: Completion) -> ChatReply:
    return ChatReply(
        thinking=completion.thinking,
        content=completion.content,
        requests=tuple(_read_call(call) for call in completion.calls),
        native=tuple(
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in completion.calls
        ),
        finish_reason="length" if completion.finish_reason == "length" else "stop",
        tokens=completion.tokens,
    )


def _read_call(call: NativeCall) -> ToolCall | MalformedCall:
    raw = call.arguments or "{}"
    try:
        arguments = json.loads(raw, strict=False)
    except (ValueError, RecursionError) as error:
        return MalformedCall("malformed_json", f"the arguments are not JSON: {error}", raw)
    if not call.name:
        return MalformedCall("missing_name", "the call names no function", raw)
    return ToolCall(call.name, arguments, raw)


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys of ours that a strict server would refuse."""
    known = ("role", "content", "tool_calls", "tool_call_id", "name")
    return {key: message[key] for key in known if key in message}
