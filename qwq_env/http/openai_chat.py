"""A chat model behind any OpenAI-compatible endpoint: a policy to be evaluated, or a user.

Thinking comes apart from the content or inline between `<think>` tags; calls as native
`tool_calls` or as text. The way to the server is `qwq_env.http.chat_client`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from qwq_env.chat_model import ChatModel, ChatReply, Sampling, Unwanted
from qwq_env.dialect.base import Messages, Schemas
from qwq_env.errors import InfrastructureError, ServersGone, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.chat_client import ChatClient, Completion
from qwq_env.http.client import Refused
from qwq_env.http.first_requests import FirstRequests
from qwq_env.messages import read_native_call
from qwq_env.turn import MalformedCall, ToolCall

_SENT_KEYS = (
    "role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning"
)  # fmt: skip


class OpenAIChat(ChatModel):
    """Asks `{base_url}/chat/completions` for `model`.

    At most `in_flight` requests are open at a time. What fails on the way (connection, 429, 5xx,
    a stream that breaks off) is tried `attempts` times, with waits that double; a server that was
    not to be reached for `grace` seconds ends the run (`ServersGone`), and so does one that answers
    none of the first conversations. With `native_tools` off the
    server is not told of the tools; the dialect's instructions tell the model, and its calls are
    read from the text. With `seeded` each request carries a seed, which some servers refuse and
    vLLM's engine may die of (see `VllmPolicy`). `extra` is merged into every request, such as
    `{"enable_thinking": True}`: objects key by key, and None takes a key out, so that
    `{"max_tokens": None, "max_completion_tokens": 4096}` is for models that know only the latter.
    OpenAI's own API knows no `top_k`, so it is sent only where it is
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
        key: ApiKey | None = None,
    ) -> None:
        """The key is `key`, or the value of `api_key_variable`; without one, none is sent.

        Raises `UsageError` for an address or a key that cannot be one.
        """
        self._client = ChatClient(
            base_url,
            api_key_variable=api_key_variable,
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
            extra=extra,
            grace=grace,
            key=key,
        )
        self.base_url = self._client.base_url
        self.model = model
        self.native_tools = native_tools
        self._seeded = seeded
        self._key_variable = api_key_variable
        self._first = FirstRequests()

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

        A call that the server itself could not read is a malformed one of the model's.
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
        }
        conversation = self._first.begin(body["messages"])
        try:
            completion = await self._client.complete(body, stop)
        except Refused as error:
            if error.kind == "context":
                return ChatReply("", "", finish_reason="length", tokens=0)
            if error.kind == "call":
                self._first.serve()
                return _malformed_reply(error.refusal.failed, error.refusal.message)
            self._refused(error, conversation)
        except InfrastructureError as error:
            if self._first.fail(conversation):
                raise ServersGone(f"no conversation so far was answered: {error}") from None
            raise
        self._first.serve()
        if completion.finish_reason == "content_filter":
            raise Unwanted(f"{self!r}: the reply was cut by the server's content filter")
        return _reply_of(completion, messages)

    def _refused(self, error: Refused, conversation: int) -> NoReturn:
        """Raise what a refusal means: `Unwanted`, or `UsageError` if every one would be."""
        setting, told = error.refusal.setting, f"{self!r}: {error.words}"
        # All requests have the same settings: one that was served once is not wrong.
        ours = error.kind in ("operator", "tokens") and not (setting and self._first.served)
        if not ours:
            if error.kind == "filtered" or not self._first.fail(conversation):
                raise Unwanted(str(error)) from None
            told += "; so were all conversations so far, and none was answered"
        if not setting or setting in ("model", "tools", "tool_choice"):
            hint = f"check the address, the model, its settings and the key in {self._key_variable}"
        else:
            hint = f"check {setting}; extra={{{setting!r}: None}} leaves it out"
        if self.native_tools and "tool" in error.words.lower():
            hint += "; a server that takes no tools wants native_tools=False"
        raise UsageError(f"{told}; {hint}") from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _reply_of(completion: Completion, messages: Messages) -> ChatReply:
    ids = _unique_ids([call.id for call in completion.calls], messages)
    requests: tuple[ToolCall | MalformedCall, ...] = tuple(
        read_native_call(call.name, call.arguments) for call in completion.calls
    )
    if completion.finish_reason == "malformed_call" and not requests:
        reply = _malformed_reply("", "")
        requests = reply.requests
    return ChatReply(
        thinking=completion.thinking,
        content=completion.content,
        requests=requests,
        native=tuple(
            {
                "id": id_,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for id_, call in zip(ids, completion.calls, strict=True)
        ),
        finish_reason="length" if completion.finish_reason == "length" else "stop",
        tokens=completion.tokens,
        prompt_tokens=completion.prompt_tokens,
        thinking_key=completion.thinking_key,
    )


def _malformed_reply(written: str, message: str) -> ChatReply:
    """Return the reply that ended in a call which the server could not read."""
    told = f"the call could not be read: {message}" if message else "the call could not be read"
    request = MalformedCall("malformed_call", f"{told}; write it again as the tools ask", written)
    return ChatReply("", written, (request,))


def _unique_ids(given: Sequence[str], messages: Messages) -> list[str]:
    """Return ids that no other call of the conversation has: those given, or made-up ones.

    Mistral takes ids of nine letters and digits only.
    """
    used = {call["id"] for message in messages for call in message.get("tool_calls") or ()}
    ids: list[str] = []
    for id_ in given:
        number = len(used)
        while not id_ or id_ in used:
            id_ = f"call{number:05d}"
            number += 1
        used.add(id_)
        ids.append(id_)
    return ids


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys of ours that a strict server would refuse."""
    return {key: message[key] for key in _SENT_KEYS if key in message}
