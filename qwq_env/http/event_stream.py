"""The JSON values of an answer: of a stream of server-sent events, or of a plain body.

Servers that were asked for a stream may answer with one JSON text all the same, and a proxy with a
page of its own. Events may lack the empty line between them, come in several `data` lines, or hold
several values.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import httpx

from qwq_env.http.client import Transient

DONE: Final = "[DONE]"
_FIELDS = frozenset({"data", "event", "id", "retry"})
_DECODER = json.JSONDecoder(strict=False)


class Event(NamedTuple):
    """A value, and the name of the event it came in (`""` if none, as in a plain body)."""

    value: Any
    name: str = ""


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Give the values of an answer as they come; the marker of the end is `DONE`.

    Raises `Transient` for what is no JSON.
    """
    reader = _Reader()
    async for line in _lines(response):
        for event in reader.take(line):
            yield event
    for event in reader.rest():
        yield event


class _Reader:
    def __init__(self) -> None:
        self._data: list[str] = []
        self._bare: list[str] = []
        self._name = ""
        self._begun = False

    def take(self, line: str) -> list[Event]:
        """Take a line, and return the values that it completes."""
        if line == "":
            found, self._name = self._flush(), ""
            return found
        field, _, text = line.partition(":")
        if field not in _FIELDS or ":" not in line:
            if field:
                self._bare.append(line)
            return []
        self._begun = True
        if field == "event":
            found, self._name = self._flush(), text.strip()
            return found
        if field == "data":
            self._data.append(text)
            # Most events are one line; to wait for the empty one would hold them up.
            if (values := _values("\n".join(self._data))) is not None:
                self._data.clear()
                return [Event(value, self._name) for value in values]
        return []

    def rest(self) -> list[Event]:
        """Return the values that stand at the end, or outside of any event."""
        found = self._flush()
        if not any(line.strip() for line in self._bare):
            return found
        body = "\n".join(self._bare)
        values = _values(body)
        if values is None and not self._begun:
            raise Transient(f"neither a stream nor JSON: {body[:500]!r}")
        return found + [Event(value) for value in values or ()]

    def _flush(self) -> list[Event]:
        if not self._data:
            return []
        text = "\n".join(self._data)
        self._data.clear()
        values = _values(text)
        if values is None:
            # An error in words, or an event that was cut off.
            if self._name == "error":
                return [Event(text.strip(), self._name)]
            raise Transient(f"an event that is no JSON: {text!r}")
        return [Event(value, self._name) for value in values]


def _values(text: str) -> list[Any] | None:
    """Return the values that a text is made of, those of a list one by one; None if it is not."""
    values: list[Any] = []
    rest = text.strip()
    while rest:
        if rest.startswith(DONE):
            values.append(DONE)
            rest = rest[len(DONE) :].lstrip()
            continue
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            return None
        values += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip()
    return values


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Give the lines of an answer, which end at a line feed and at nothing else.

    httpx ends them at U+2028 and U+0085 as well, which JSON may hold as they are.
    """
    begun: list[bytes] = []
    first = True
    async for chunk in response.aiter_bytes():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            yield _decoded(b"".join([*begun, end]), first)
            begun.clear()
            first = False
        begun.append(rest)
    yield _decoded(b"".join(begun), first)


def _decoded(line: bytes, first: bool) -> str:
    text = line.decode("utf-8-sig" if first else "utf-8", "replace")
    return text.rstrip("\r")
