"""Chat completions of any OpenAI-compatible endpoint: vLLM, DashScope, and the like.

Replies are streamed, for some servers of reasoning models answer in no other way. Policies for
evaluation and judges for rewards are both made of this.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from qwq_env.http_client import HttpClient, Transient, base_address

_GIVEN_UP = frozenset({"abort", "error", "insufficient_system_resource"})
"""Reasons with which servers (vLLM, SGLang, DeepSeek) end a reply that they could not finish."""


class NativeCall(NamedTuple):
    """A tool call as the server sent it: `arguments` is text, JSON if the model did well."""

    id: str
    name: str
    arguments: str


class Completion(NamedTuple):
    """A reply as it came.

    `thinking` is what came apart from the content, in the field `thinking_key`
    (`reasoning_content` or `reasoning`); `finish_reason` is the server's own word, "stop" where we
    ended it; `tokens` what it counted of the reply, and `prompt_tokens` of all before it, None if
    it did not say.
    """

    thinking: str
    content: str
    calls: tuple[NativeCall, ...]
    finish_reason: str | None
    tokens: int | None
    prompt_tokens: int | None = None
    thinking_key: str = "reasoning_content"

    def cleaned(self, clean: Callable[[str], str]) -> Completion:
        """Return the reply with every text of it passed through `clean`."""
        return self._replace(
            thinking=clean(self.thinking),
            content=clean(self.content),
            calls=tuple(NativeCall(*map(clean, call)) for call in self.calls),
        )


class ChatClient:
    """Asks `{base_url}/chat/completions`. Bounds, retries and key are `HttpClient`'s."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key_variable: str = "OPENAI_API_KEY",
        in_flight: int = 32,
        attempts: int = 5,
        seconds: float = 1800.0,
        grace: float = math.inf,
    ) -> None:
        """With a finite `grace`, `ServersGone` ends whatever waits for a server that was not
        reached for so many seconds. Raises `UsageError` for an address that cannot be one."""
        self.base_url = base_address("base_url", base_url)
        self._http = HttpClient(
            api_key_variable=api_key_variable,
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
            # Which models there are is the one thing that every such server can be asked for free.
            alive_url=f"{self.base_url}/models" if math.isfinite(grace) else None,
            grace=grace,
        )

    async def complete(self, body: Mapping[str, Any], stop: Sequence[str] = ()) -> Completion:
        """Return the whole reply to `body`, which is sent as it is but asks for a stream.

        The content ends with the first of the `stop` strings in it, and the rest is not waited for:
        the server's own `stop` would leave the string out, so that nobody knew which it was.
        A server that echoes the key in its reply gets `***` for it.

        Raises `InfrastructureError` when the server refuses or is not to be reached.
        """
        asked = {"stream": True, "stream_options": {"include_usage": True}, **body}
        read = functools.partial(_read, stop=stop)
        completion = await self._http.post(f"{self.base_url}/chat/completions", asked, read)
        return (
            completion.cleaned(self._http.key.hidden) if self._http.key.distinctive else completion
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._http.aclose()


async def _read(response: httpx.Response, stop: Sequence[str]) -> Completion:
    collected = _Collected(stop)
    async for line in _lines(response):
        if line.startswith("data:") and not collected.add(line[5:].strip()):
            break
    # The end of a stream is not the end of a reply: a server that fails sends it too.
    completion = collected.completion()
    if completion.finish_reason is None:
        raise Transient("the stream broke off before the reply was complete")
    if completion.finish_reason in _GIVEN_UP:
        raise Transient(f"the server gave up the reply: {completion.finish_reason}")
    return completion


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Give the lines of a stream, which end at a line feed and at nothing else.

    httpx ends them at U+2028 and U+0085 as well, which JSON may hold as they are.
    """
    begun: list[bytes] = []
    async for chunk in response.aiter_bytes():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            yield b"".join([*begun, end]).decode("utf-8", "replace")
            begun.clear()
        begun.append(rest)
    yield b"".join(begun).decode("utf-8", "replace")


class _Collected:
    """The pieces of a streamed reply."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.thinking: list[str] = []
        self.thinking_key = "reasoning_content"
        self.content: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.finish_reason: str | None = None
        self.tokens: int | None = None
        self.prompt_tokens: int | None = None
        self._stop = re.compile("|".join(map(re.escape, stop))) if stop else None
        self._overlap = max(map(len, stop), default=1) - 1
        self._tail = ""
        self._stopped = False

    def add(self, data: str) -> bool:
        """Take one event; False when nothing is wanted after it. Raises `Transient` for what is
        none."""
        if data == "[DONE]":
            return False
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise Transient(f"an event that is no JSON: {data!r}") from None
        if isinstance(event, dict) and "error" in event:
            raise Transient(str(event["error"]))
        try:
            self._add_event(event)
        # A server may send anything; what has not the form of an event is no reply.
        except (AttributeError, TypeError, ValueError):
            raise Transient(f"an event of an unknown form: {data!r}") from None
        return not self._stopped

    def _add_event(self, event: Any) -> None:
        usage = event.get("usage") or {}
        self.tokens = _count(usage.get("completion_tokens"), self.tokens)
        self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            for key in ("reasoning_content", "reasoning"):
                if thought := _text(delta.get(key)):
                    self.thinking.append(thought)
                    self.thinking_key = key
                    break
            self._add_content(_text(delta.get("content")))
            self._add_calls(delta.get("tool_calls") or ())
            self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason

    def _add_content(self, piece: str) -> None:
        if self._stopped:
            return
        recent = self._tail + piece
        if self._stop is not None and (found := self._stop.search(recent)):
            piece = recent[len(self._tail) : found.end()]
            self._stopped = True
        self.content.append(piece)
        self._tail = recent[len(recent) - self._overlap :] if self._overlap else ""

    def completion(self) -> Completion:
        """Return what has come, as a whole."""
        return Completion(
            thinking="".join(self.thinking),
            content="".join(self.content),
            calls=tuple(NativeCall(**self.calls[index]) for index in sorted(self.calls)),
            finish_reason="stop" if self._stopped else self.finish_reason,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            thinking_key=self.thinking_key,
        )

    def _add_calls(self, pieces: Sequence[Mapping[str, Any]]) -> None:
        for piece in pieces:
            index = int(piece.get("index", len(self.calls)))
            empty = {"id": f"call_{index}", "name": "", "arguments": ""}
            call = self.calls.setdefault(index, empty)
            function = piece.get("function") or {}
            call["id"] = _text(piece.get("id")) or call["id"]
            call["name"] += _text(function.get("name"))
            call["arguments"] += _text(function.get("arguments"))


def _count(value: Any, known: int | None) -> int | None:
    """Return a count of tokens, `known` for None. Raises `TypeError` or `ValueError` for none."""
    return known if value is None else max(0, int(value))


def _text(value: object) -> str:
    """Return a text, empty for None. Raises `TypeError` for anything else."""
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError(f"{type(value).__name__} in place of a text")
