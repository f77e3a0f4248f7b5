"""A chat model behind any OpenAI-compatible endpoint: vLLM, DashScope, and the like.

Replies are streamed, for some servers of reasoning models answer in no other way. Thinking comes
as `reasoning_content` (or `reasoning`) or inline between `<think>` tags; calls as native
`tool_calls` or as text. The key is read from the environment and goes into one header only.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.chat import ChatModel, ChatReply
from qwq_env.rollout.policy import Sampling
from qwq_env.turn import MalformedCall, ToolCall

_RETRIED_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


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
        if not base_url.startswith(("http://", "https://")):
            raise UsageError(f"base_url: {base_url!r}; expected http://host:port/v1")
        self.base_url = base_url.rstrip("/")
        self.model = model
        self._native_tools = native_tools
        self._extra = dict(extra or {})
        self._attempts = attempts
        self._in_flight = in_flight
        self._timeout = httpx.Timeout(seconds, connect=10.0)
        key = os.environ.get(api_key_variable)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client: httpx.AsyncClient | None = None
        self._slots: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"OpenAIChat({self.base_url!r}, {self.model!r})"

    async def reply(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int,
    ) -> ChatReply:
        """Return one reply; see `ChatModel.reply`."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_plain(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed & 0x7FFF_FFFF,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._extra,
        }
        if tools and self._native_tools:
            body["tools"] = list(tools)
        client, slots = self._open()
        failure = ""
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
            try:
                async with slots:
                    return await self._stream(client, body)
            except (httpx.TransportError, _Transient) as error:
                failure = f"{type(error).__name__}: {error}"
        raise InfrastructureError(f"{self.base_url}: {failure}")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        loop = asyncio.get_running_loop()
        if self._client is None or self._slots is None or self._loop is not loop:
            # httpx slows with every request that waits inside it; ours wait at the semaphore.
            limits = httpx.Limits(max_connections=self._in_flight)
            self._client = httpx.AsyncClient(
                headers=self._headers, timeout=self._timeout, limits=limits
            )
            self._slots, self._loop = asyncio.Semaphore(self._in_flight), loop
        return self._client, self._slots

    async def _stream(self, client: httpx.AsyncClient, body: Mapping[str, Any]) -> ChatReply:
        url = f"{self.base_url}/chat/completions"
        async with client.stream("POST", url, json=body) as response:
            if response.status_code != 200:
                text = (await response.aread()).decode("utf-8", "replace")[:500]
                if response.status_code in _RETRIED_STATUS:
                    raise _Transient(f"{response.status_code}: {text}")
                raise InfrastructureError(f"{url}: {response.status_code}: {text}")
            collected = _Collected()
            async for line in response.aiter_lines():
                if line.startswith("data:") and not collected.add(line[5:].strip()):
                    return collected.reply()
        if collected.finish_reason is None:
            raise _Transient("the stream broke off before the reply was complete")
        return collected.reply()


class _Transient(Exception):
    """Failed on the way; may succeed when tried again."""


class _Collected:
    """The pieces of a streamed reply."""

    def __init__(self) -> None:
        self.thinking: list[str] = []
        self.content: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.finish_reason: str | None = None
        self.tokens: int | None = None

    def add(self, data: str) -> bool:
        """Take one event; False at the end of the stream."""
        if data == "[DONE]":
            return False
        try:
            event = json.loads(data)
        except ValueError:
            raise _Transient(f"an event that is no JSON: {data[:100]!r}") from None
        if "error" in event:
            raise _Transient(str(event["error"])[:500])
        self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self.thinking.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
            self.content.append(delta.get("content") or "")
            for piece in delta.get("tool_calls") or ():
                self._add_call(piece)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return True

    def reply(self) -> ChatReply:
        """Return what has come, as a whole."""
        native = [self.calls[index] for index in sorted(self.calls)]
        return ChatReply(
            thinking="".join(self.thinking),
            content="".join(self.content),
            requests=tuple(_read_call(call) for call in native),
            native=tuple(
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in native
            ),
            finish_reason="length" if self.finish_reason == "length" else "stop",
            tokens=self.tokens,
        )

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        index = int(piece.get("index", len(self.calls)))
        empty = {"id": f"call_{index}", "name": "", "arguments": ""}
        call = self.calls.setdefault(index, empty)
        function = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""


def _read_call(call: Mapping[str, str]) -> ToolCall | MalformedCall:
    raw = call["arguments"] or "{}"
    try:
        arguments = json.loads(raw, strict=False)
    except (ValueError, RecursionError) as error:
        return MalformedCall("malformed_json", f"the arguments are not JSON: {error}", raw)
    if not call["name"]:
        return MalformedCall("missing_name", "the call names no function", raw)
    return ToolCall(call["name"], arguments, raw)


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys of ours that a strict server would refuse."""
    known = ("role", "content", "tool_calls", "tool_call_id", "name")
    return {key: message[key] for key in known if key in message}
