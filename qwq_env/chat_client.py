"""Chat completions of any OpenAI-compatible endpoint: vLLM, DashScope, and the like.

Replies are streamed, for some servers of reasoning models answer in no other way. Policies for
evaluation and judges for rewards are both made of this.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from qwq_env.http_client import HttpClient, Transient, base_address


class NativeCall(NamedTuple):
    """A tool call as the server sent it: `arguments` is text, JSON if the model did well."""

    id: str
    name: str
    arguments: str


class Completion(NamedTuple):
    """A reply as it came.

    `thinking` is what came apart from the content (`reasoning_content` or `reasoning`);
    `finish_reason` is the server's own word; `tokens` what it counted, None if it did not say.
    """

    thinking: str
    content: str
    calls: tuple[NativeCall, ...]
    finish_reason: str | None
    tokens: int | None

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
    ) -> None:
        """Raises `UsageError` for an address that cannot be one."""
        self.base_url = base_address("base_url", base_url)
        self._http = HttpClient(
            api_key_variable=api_key_variable,
            in_flight=in_flight,
            attempts=attempts,
            seconds=seconds,
        )

    async def complete(self, body: Mapping[str, Any]) -> Completion:
        """Return the whole reply to `body`, which is sent as it is but asks for a stream.

        A server that echoes the key in its reply gets `***` for it.

        Raises `InfrastructureError` when the server refuses or is not to be reached.
        """
        asked = {"stream": True, "stream_options": {"include_usage": True}, **body}
        completion = await self._http.post(f"{self.base_url}/chat/completions", asked, _read)
        return (
            completion.cleaned(self._http.key.hidden) if self._http.key.distinctive else completion
        )

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._http.aclose()


async def _read(response: httpx.Response) -> Completion:
    collected = _Collected()
    async for line in _lines(response):
        if line.startswith("data:") and not collected.add(line[5:].strip()):
            break
    # The end of a stream is not the end of a reply: a server that fails sends it too.
    if collected.finish_reason is None:
        raise Transient("the stream broke off before the reply was complete")
    return collected.completion()


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

    def __init__(self) -> None:
        self.thinking: list[str] = []
        self.content: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.finish_reason: str | None = None
        self.tokens: int | None = None

    def add(self, data: str) -> bool:
        """Take one event; False at the end of the stream. Raises `Transient` for what is none."""
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
        return True

    def _add_event(self, event: Any) -> None:
        tokens = (event.get("usage") or {}).get("completion_tokens")
        self.tokens = self.tokens if tokens is None else max(0, int(tokens))
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self.thinking.append(_text(delta.get("reasoning_content") or delta.get("reasoning")))
            self.content.append(_text(delta.get("content")))
            self._add_calls(delta.get("tool_calls") or ())
            self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason

    def completion(self) -> Completion:
        """Return what has come, as a whole."""
        return Completion(
            thinking="".join(self.thinking),
            content="".join(self.content),
            calls=tuple(NativeCall(**self.calls[index]) for index in sorted(self.calls)),
            finish_reason=self.finish_reason,
            tokens=self.tokens,
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


def _text(value: object) -> str:
    """Return a text, empty for None. Raises `TypeError` for anything else."""
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError(f"{type(value).__name__} in place of a text")
