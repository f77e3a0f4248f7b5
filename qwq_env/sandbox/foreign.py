"""JSON that strangers wrote, read at a bounded cost: an answer of a program, a request, a reply.

`json.loads` does all of its work at once and holds the interpreter meanwhile, in a thread too:
sixteen megabytes of `[],` are seconds in which no deadline fires, and a gigabyte of lists. Here
the work is done in short steps between which the event loop gets its turn, what is built is
counted before it is built, and short texts, which cannot cost much, are left to `json.loads`.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from qwq_env.sandbox.collect import TooCostly, Work, at_once
from qwq_env.sandbox.collector import no_full_collections

T = TypeVar("T")
Building = Callable[[dict[str, Any]], Work[Any]]
"""What is made of a JSON object once its content was read."""

MOST_DEPTH: Final = 256
_TURN_SECONDS: Final = 0.004
_MOST_AT_ONCE: Final = 65_536
_LIST: Final = 200
_OBJECT: Final = 200
_ITEM: Final = 40
_QUOTE: Final = 16
"""Bytes that are counted for a list, for an object (which most often becomes something else), for
an item in them, and for each quotation mark, beside what strings and long numbers hold."""
_STEP: Final = 500
"""Bytes that are counted for a list, an object or a key read by a step of its own, in which most of
its cost is time: what is too deep, or too long, to be left to `json.loads`."""

_FREED: Final = 8
"""Items let go of in one step: each may be as much as a stretch of text holds."""

_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"'


def _content(depth: int, but: bytes = b"") -> bytes:
    """Return the expression of what may stand in brackets, itself with `depth` levels of them."""
    flat = rb'[^\[\]{}"' + but + rb"]++|" + _STRING
    if not depth:
        return rb"(?:" + flat + rb")"
    inner = _content(depth - 1) + rb"*+"
    return rb"(?:" + flat + rb"|\[" + inner + rb"\]|\{" + inner + rb"\})"


# Items of a list that are not deep, each with the comma behind it or before the closing bracket.
# Every part is possessive, so that the time is in proportion to the length.
_ITEMS: Final = re.compile(rb"(?:" + _content(4, rb",") + rb"++(?:,|(?=\])))*+", re.DOTALL)
_KEY: Final = re.compile(rb"([^\S\f\v]*+" + _STRING + rb")[^\S\f\v]*+:[^\S\f\v]*+", re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\s\[\]{}",:]++')
_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])++', re.DOTALL)
_HIGH_SURROGATE: Final = re.compile(rb"\\u[dD][89abAB]..")


class Reading(NamedTuple):
    """A value, and about how many bytes it takes."""

    value: Any
    size: int


class Reader:
    """Reads one text after another, so that many at once stop the event loop no longer than one.

    Each object of a text becomes what `building` makes of it. Texts of up to `short` bytes are read
    at once; of others `stretch` bytes at a time.
    """

    def __init__(self, building: Building, *, short: int = 8192, stretch: int = 16_384) -> None:
        self._building = building
        self._decoder = json.JSONDecoder(object_hook=lambda data: at_once(building(data)))
        self._short, self._stretch = short, stretch
        self._turn = asyncio.Lock()

    async def read(self, text: bytes | bytearray, most: int) -> Reading:
        """Return what `text` holds.

        Raises ValueError for what is not JSON in UTF-8, or is nested too deeply, `TooCostly` (a
        ValueError) where text and value take more than `most` bytes, and what `building` raises.
        """
        if len(text) <= self._short and text.count(b"[") + text.count(b"{") <= MOST_DEPTH:
            return Reading(self._decoder.decode(text.decode()), _size_of(text))
        async with self._turn:
            parse = _Parse(text, self._building, most, self._stretch)
            with no_full_collections():
                try:
                    value = await in_turns(parse.value())
                except BaseException:
                    await in_turns(parse.undoing())
                    raise
            return Reading(value, parse.size - len(text))


async def in_turns(work: Work[T]) -> T:
    """Do the work; between its steps others get their turn every few milliseconds."""
    end = time.perf_counter() + _TURN_SECONDS
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + _TURN_SECONDS


async def text_of(data: bytes) -> str:
    """Return what a program printed as text; what is not UTF-8 is replaced, which takes time."""
    if len(data) <= _MOST_AT_ONCE:
        return data.decode("utf-8", "replace")
    return await in_turns(_decoding(data))


def _decoding(data: bytes) -> Work[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = []
    for begin in range(0, len(data), _MOST_AT_ONCE):
        pieces.append(decoder.decode(data[begin : begin + _MOST_AT_ONCE]))
        yield
    return "".join(pieces) + decoder.decode(b"", final=True)


class _Parse:
    """One text on its way to a value, by a stack of the lists and objects that are open."""

    def __init__(
        self, text: bytes | bytearray, building: Building, most: int, stretch: int
    ) -> None:
        self._text, self._building = text, building
        self._most, self._stretch = most, stretch
        self._at = 0
        self._outermost: list[Any] = []
        self._open: list[list[Any] | dict[str, Any]] = [self._outermost]
        self._keys: list[str] = [""]
        self._closed: list[list[Any] | dict[str, Any]] = []
        self.size = 0
        self._count(len(text))

    def value(self) -> Work[Any]:
        """Read the whole text, which is one value and no more."""
        expected = "value"
        while True:
            yield
            byte = yield from self._next_byte()
            top = self._open[-1]
            closing = b"}" if type(top) is dict else b"]"
            if expected == "end" and len(self._open) == 1:
                if byte:
                    raise self._malformed()
                return self._outermost[0]
            if expected in ("end", "first") and byte == closing:
                self._at += 1
                expected = yield from self._close()
            elif expected == "end":
                self._pass(b",")
                expected = "value"
            else:
                if type(top) is dict:
                    self._key()
                expected = yield from self._value()

    def undoing(self) -> Work[None]:
        """Let go of what was built, bit by bit: to free it all takes long, too."""
        for part in (*self._closed, *reversed(self._open)):
            while part:
                if type(part) is dict:
                    part.popitem()
                else:
                    del part[-_FREED:]
                yield

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._most:
            raise TooCostly(f"text and value take more than {self._most} bytes")

    def _malformed(self) -> ValueError:
        return ValueError(f"not JSON at byte {self._at}")

    def _next_byte(self) -> Work[bytes]:
        """Skip white space and return the byte behind it, which is empty at the end."""
        while (end := self._end(_SPACE)) > self._at:
            self._at = end
            yield
        return bytes(self._text[self._at : self._at + 1])

    def _pass(self, byte: bytes) -> None:
        if self._text[self._at : self._at + 1] != byte:
            raise self._malformed()
        self._at += 1

    def _key(self) -> None:
        match = _KEY.match(self._text, self._at, self._at + self._stretch)
        if match is None:
            raise self._malformed()
        self._keys[-1] = key = json.loads(match[1].decode())
        self._count(_STEP + sys.getsizeof(key))
        self._at = match.end()

    def _value(self) -> Work[str]:
        """Read a value or its beginning, or as many as can be had at once; what comes next."""
        top = self._open[-1]
        if type(top) is list and len(self._open) > 1:
            end = self._end(_ITEMS)
            if end > self._at:
                return self._items(top, end)
        byte = bytes(self._text[self._at : self._at + 1])
        if byte in (b"[", b"{"):
            if len(self._open) > MOST_DEPTH:
                raise ValueError(f"nested deeper than {MOST_DEPTH}")
            self._at += 1
            self._count(_STEP)
            self._open.append([] if byte == b"[" else {})
            self._keys.append("")
            return "first"
        if byte == b'"':
            text = yield from self._string()
            self._count(sys.getsizeof(text) + _ITEM)
            self._put(text)
        else:
            end = self._end(_SCALAR)
            self._put(json.loads(self._text[self._at : end].decode()))
            self._count(max(_ITEM, end - self._at))
            self._at = end
        return "end"

    def _items(self, top: list[Any], end: int) -> str:
        """Read items up to `end`."""
        goes_on = self._text[end - 1] == ord(",")
        run = self._text[self._at : end - goes_on]
        self._count(_size_of(run))
        top += json.loads(f"[{run.decode()}]", object_hook=self._built)
        self._at = end
        return "value" if goes_on else "end"

    def _close(self) -> Work[str]:
        done: Any = self._open.pop()
        self._closed.append(done)
        self._keys.pop()
        if type(done) is dict:
            done = yield from self._building(done)
            self._count_table(done)
        self._put(done)
        return "end"

    def _built(self, data: dict[str, Any]) -> Any:
        value = at_once(self._building(data))
        self._count_table(value)
        return value

    def _count_table(self, value: Any) -> None:
        if type(value) in (set, frozenset, dict):
            self._count(sys.getsizeof(value))

    def _put(self, value: Any) -> None:
        top = self._open[-1]
        if type(top) is dict:
            top[self._keys[-1]] = value
        else:
            top.append(value)  # type: ignore[union-attr]

    def _string(self) -> Work[str]:
        """Read a string of any length, piece by piece."""
        self._pass(b'"')
        text, pieces, waiting = "", [], 0
        characters, width = 0, 1
        before = self.size
        while (end := self._end_of_piece()) > self._at:
            piece = json.loads(f'"{self._text[self._at : end].decode()}"')
            characters += len(piece)
            # The widest character makes every one as wide.
            width = max(width, min(4, (sys.getsizeof(piece) - sys.getsizeof("")) // len(piece)))
            self.size = before
            self._count(width * characters)
            pieces.append(piece)
            waiting += len(piece)
            if waiting > _MOST_AT_ONCE + len(text) // 8:
                # Grown so, it takes its memory bit by bit, of which most of the time is.
                text += "".join(pieces)
                pieces, waiting = [], 0
            self._at = end
            yield
        self._pass(b'"')
        self.size = before
        text += "".join(pieces)
        return text

    def _end_of_piece(self) -> int:
        """Return where the next piece of a string ends: behind whole characters and escapes."""
        end = self._end(_TEXT)
        while self._at < end < len(self._text) and self._text[end] & 0xC0 == 0x80:
            end -= 1
        if end - self._at > 6 and _HIGH_SURROGATE.fullmatch(self._text, end - 6, end):
            end -= 6
        return end

    def _end(self, pattern: re.Pattern[bytes]) -> int:
        """Return where what matches here ends, within one stretch; here if nothing does."""
        match = pattern.match(self._text, self._at, self._at + self._stretch)
        return match.end() if match else self._at


def _size_of(text: bytes | bytearray) -> int:
    """Return about how many bytes the items in `text` take, and hardly ever fewer."""
    size = _ITEM * (1 + text.count(b",")) + _LIST * text.count(b"[") + _OBJECT * text.count(b"{")
    quotes = text.count(b'"')
    if not quotes:
        return max(size, len(text))
    # One character beyond Latin-1 makes each one of its string two or four bytes long.
    wide = b"\\" in text or not text.isascii()
    return size + _QUOTE * quotes + len(text) * (4 if wide else 1)
