"""A chat completion from what a server sends of it, streamed or whole, in the forms there are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from qwq_env.http.chat_calls import CallCollector, NativeCall, text_of
from qwq_env.http.client import Rejection, Transient
from qwq_env.http.content_parts import content_parts
from qwq_env.http.error_body import is_error
from qwq_env.http.event_stream import DONE, Event, events
from qwq_env.http.finish_reason import FinishReason, finish_reason

_THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")


class Completion(NamedTuple):
    """A reply as it came.

    `thinking` is what came apart from the content. `thinking_key` is the field in which it came
    (`reasoning_content` or `reasoning`, also if it was empty), `""` for parts of the content, None
    if none came. `finish_reason` is "malformed_call" where the model made a call that the server
    could not read. `tokens` is what the server counted of the reply, and `prompt_tokens` of all
    before it, None if it did not say.
    """

    thinking: str
    content: str
    calls: tuple[NativeCall, ...]
    finish_reason: FinishReason
    tokens: int | None
    prompt_tokens: int | None = None
    thinking_key: str | None = None

    def within(self, most: int | None) -> Completion:
        """Return the reply as one cut at `most` tokens if it used them up amid a call.

        Some servers (vLLM's streams) report that as a call that was finished.
        """
        if most is None or self.tokens is None or self.tokens < most or not self.calls:
            return self
        try:
            json.loads(self.calls[-1].arguments or "{}", strict=False)
        except (ValueError, RecursionError):
            return self._replace(finish_reason="length")
        return self

    def cleaned(self, clean: Callable[[str], str]) -> Completion:
        """Return the reply with every text of it passed through `clean`."""
        return self._replace(
            thinking=clean(self.thinking),
            content=clean(self.content),
            calls=tuple(NativeCall(*map(clean, call)) for call in self.calls),
        )


async def read_completion(
    response: httpx.Response, stop: Sequence[str] = (), tools: Collection[str] = ()
) -> Completion:
    """Read a reply; its content ends with the first of the `stop` strings.

    `tools` are the names of those that the model was told of. Raises `Rejection` for an error in
    place of the reply or within it, and `Transient` for a reply that is not whole.
    """
    collected = _Collected(stop, tools)
    async for event in events(response):
        if not collected.add(event):
            break
    return collected.completion()


class _Collected:
    """The pieces of a reply."""

    def __init__(self, stop: Sequence[str], tools: Collection[str]) -> None:
        self._thinking: list[str] = []
        self._thinking_key: str | None = None
        self._content: list[str] = []
        self._calls = CallCollector(tools)
        self._finish: str | None = None
        self._tokens: int | None = None
        self._prompt_tokens: int | None = None
        self._pieces = 0
        self._counted_last = self._grown_since = False
        self._done = self._whole = self._stopped = False
        self._stop = re.compile("|".join(map(re.escape, stop))) if stop else None
        self._overlap = max(map(len, stop), default=1) - 1
        self._tail = ""

    def add(self, event: Event) -> bool:
        """Take one event; False when nothing is wanted after it. Raises like `read_completion`."""
        value = event.value
        if value == DONE:
            self._done = True
            return False
        if event.name == "error" or is_error(value):
            raise Rejection(200, value if isinstance(value, str) else json.dumps(value))
        try:
            self._add_event(value)
        # A server may send anything; what has not the form of an event is no reply.
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise Transient(f"an event of an unknown form: {value!r}") from None
        return not self._stopped

    def completion(self) -> Completion:
        """Return what has come, as a whole."""
        return Completion(
            thinking="".join(self._thinking),
            content="".join(self._content),
            calls=self._calls.calls(),
            finish_reason="stop" if self._stopped else self._reason(),
            # Some servers count once, before the reply has begun.
            tokens=None if self._grown_since else self._tokens,
            prompt_tokens=self._prompt_tokens,
            thinking_key=self._thinking_key,
        )

    def _reason(self) -> FinishReason:
        """Say how the reply ended. Raises `Transient` if it did not."""
        # The end of a stream is not the end of a reply: a server that fails sends it too. One that
        # has counted the tokens has finished, whether or not it has a word for it.
        if not self._finish and not self._whole and not (self._done and self._counted_last):
            raise Transient("the stream broke off before the reply was complete")
        if (reason := finish_reason(self._finish or "")) is None:
            raise Transient(f"the server gave up the reply: {self._finish}")
        return reason

    def _add_event(self, event: Any) -> None:
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        before = self._pieces
        for position, choice in enumerate(event.get("choices") or ()):
            index = choice.get("index")
            if (position if index is None else index) in (0, "0"):
                usage = choice.get("usage") or usage
                self._add_choice(choice)
        self._count(usage)
        grown = self._pieces > before
        # A count beside a piece of text may be one of many on the way.
        self._counted_last = bool(usage) and not grown
        self._grown_since = not usage and (grown or self._grown_since)

    def _add_choice(self, choice: Any) -> None:
        if error := choice.get("error"):
            raise Rejection(200, json.dumps({"error": error}))
        delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
        self._whole = self._whole or bool(choice.get("message"))
        self._add_thinking(delta)
        for kind, text in content_parts(delta.get("content") or delta.get("refusal")):
            if kind == "thinking":
                self._pieces += bool(text)
                self._thinking.append(text)
                self._thinking_key = self._thinking_key or ""
            else:
                self._add_content(text)
        calls = delta.get("tool_calls") or delta.get("function_call") or ()
        for piece in filter(None, [calls] if isinstance(calls, Mapping) else calls):
            self._pieces += 1
            self._calls.add(piece)
        self._finish = text_of(choice.get("finish_reason")) or self._finish

    def _add_thinking(self, delta: Mapping[str, Any]) -> None:
        for key in _THINKING_KEYS:
            if (thought := delta.get(key)) is not None and isinstance(thought, str | list):
                pieces = [text for _, text in content_parts(thought)]
                self._pieces += any(pieces)
                self._thinking += pieces
                if any(pieces) or self._thinking_key is None:
                    self._thinking_key = key
                if any(pieces):
                    return

    def _add_content(self, piece: str) -> None:
        if self._stopped or not piece:
            return
        recent = self._tail + piece
        if self._stop is not None and (found := self._stop.search(recent)):
            piece = recent[len(self._tail) : found.end()]
            self._stopped = True
        self._pieces += 1
        self._content.append(piece)
        self._tail = recent[-self._overlap :] if self._overlap else ""

    def _count(self, usage: Any) -> None:
        """Take a count of tokens; what it leaves out stays as it is known."""
        if usage:
            if (tokens := usage.get("completion_tokens")) is not None:
                self._tokens = max(0, int(tokens))
            if (tokens := usage.get("prompt_tokens")) is not None:
                self._prompt_tokens = max(0, int(tokens))
