"""A chat model behind any OpenAI-compatible endpoint, as a policy for evaluation.

Thinking comes apart from the content or inline between `<think>` tags; calls as native
`tool_calls` or as text. The way to the server is `qwq_env.chat_client`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.chat_client import ChatClient, Completion, NativeCall
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.errors import UsageError
from qwq_env.http_client import Refused
from qwq_env.rollout.chat import ChatModel, ChatReply, Unwanted
from qwq_env.rollout.policy import Sampling
from qwq_env.turn import MalformedCall, ToolCall

_SENT_KEYS = (
    "role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning"
)  # fmt: skip


class OpenAIChat(ChatModel):
    """Asks `{base_url}/chat/completions` for `model`.

    At most `in_flight` requests are open at a time. What fails on the way (connection, 429, 5xx,
    a stream that breaks off) is tried `attempts` times, with waits that double; a server that was
    not to be reached for `grace` seconds ends the run (`ServersGone`). With `native_tools` off the
    server is not told of the tools; the dialect's instructions tell the model, and its calls are
    read from the text. With `seeded` each request carries a seed, which some servers refuse and
    vLLM's engine may die of (see `VllmPolicy`). `extra` is merged into every request, such as
    `{"enable_thinking": true}`. OpenAI's own API knows no `top_k`, so it is sent only where it is
    not 0; for vLLM, which then takes the checkpoint's, `{"top_k": 0}` in `extra` turns it off.
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
        seeded: bool = False,
        grace: float = 5.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """The key is the value of `api_key_variable`; without one, none is sent.

        Raises `UsageError` for an address or a key that cannot be one.
        """
        self._client = ChatClient(
            base_url,
            api_key_variable=api_key_variable,
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
            grace=grace,
        )
        self.base_url = self._client.base_url
        self.model = model
        self.native_tools = native_tools
        self._seeded = seeded
        self._key_variable = api_key_variable
        self._extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"OpenAIChat({self.base_url!r}, {self.model!r})"

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
        """Return one reply; see `ChatModel.reply`.

        Where the messages leave less room than `max_tokens` and the server minds, it is asked
        once more for as many as it can give.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_plain(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"top_k": sampling.top_k} if sampling.top_k else {}),
            **({"seed": seed & 0x7FFF_FFFF} if self._seeded else {}),
            **({"tools": list(tools)} if tools else {}),
            **self._extra,
        }
        completion = await self._complete(body, stop)
        if completion is None and body.pop("max_tokens", None) is not None:
            completion = await self._complete(body, stop)
        if completion is None:
            return ChatReply("", "", finish_reason="length", tokens=0)
        if completion.finish_reason == "content_filter":
            raise Unwanted(f"{self!r}: the reply was cut by the server's content filter")
        return _reply_of(completion)

    async def _complete(self, body: Mapping[str, Any], stop: Sequence[str]) -> Completion | None:
        """Return the reply, None where the context is full; raises like `reply`."""
        try:
            return await self._client.complete(body, stop)
        except Refused as error:
            if error.kind == "context":
                return None
            if error.kind == "request":
                raise Unwanted(str(error)) from None
            hint = f"check the address, the model, its settings and the key in {self._key_variable}"
            if "tools" in body:
                hint += "; a server that takes no tools wants native_tools=False"
            raise UsageError(f"{self!r}: {error.words}; {hint}") from None

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
                "function": {"name": call.name, "arguments": _readable(call.arguments)},
            }
            for call in completion.calls
        ),
        finish_reason="length" if completion.finish_reason == "length" else "stop",
        tokens=completion.tokens,
        prompt_tokens=completion.prompt_tokens,
        thinking_key=completion.thinking_key,
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


def _readable(arguments: str) -> str:
    """Return arguments as they may be sent back: servers refuse a conversation whose calls hold
    no JSON object, since their templates have to print it."""
    try:
        sound = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        sound = False
    return arguments if sound else json.dumps({"malformed": arguments} if arguments else {})


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys of ours that a strict server would refuse."""
    return {key: message[key] for key in _SENT_KEYS if key in message}
