"""An episode's text in order, as a person reads it: who wrote what, which calls, which results.

A block is what was written at one go: the opening, a turn of the model, what answered it. Its
segments, joined, are the block's very text: what the policy sampled, or what it read. `markup` is
what the dialect wrote around the rest (`<|im_start|>user`, `<tool_call>`), so a reader may hide it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn

if TYPE_CHECKING:
    from qwq_env.dialect.base import Message, Messages
    from qwq_env.episode import Episode

Kind = Literal[
    "markup", "system", "task", "thinking", "text", "call", "result", "user", "answer"
]  # fmt: skip
Writer = Literal["task", "model", "tool", "user"]

_LONGEST_MARKUP: Final = 80
"""Characters of the opening that are a template's marks; more is a dialect's account of tools."""
_BEFORE_CALL: Final = re.compile(r"\s*<[^<>\s]{1,40}>\s*\Z")
_BEHIND_CALL: Final = re.compile(r"\s*</[^<>\s]{1,40}>")
_MARKS_BEFORE: Final = re.compile(r"(?:\s*<\|[^<>|]{1,40}\|>(?:system|user|assistant)?)+\s*")
_MARKS_BEHIND: Final = re.compile(
    r"(?:\s*<\|[^<>|]{1,40}\|>(?:system|user|assistant)?)+\s*(?:<think>\s*)?\Z"
)
_CLOSING: Final = re.compile(r"(?:<\|[^<>|]{1,40}\|>|</s>)\s*\Z")


class Segment(NamedTuple):
    """A stretch of text of one kind.

    A call has the `name` of its tool and its `arguments`, or an `error` if it could not be read. A
    result has the tool's `name`, its `seconds`, the characters that were `cut`, and of a failure
    the `error` and whose it is (`status`: `policy_error` or `tool_error`; see `CallResult`).
    Segments are equal whatever their seconds: an episode that is played again is the same.
    """

    kind: Kind
    text: str
    name: str = ""
    arguments: Any = None
    error: str = ""
    status: str = ""
    seconds: float = 0.0
    cut: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segment):
            return NotImplemented
        return tuple(self._replace(seconds=0.0)) == tuple(other._replace(seconds=0.0))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.kind, self.text))

    @property
    def more(self) -> dict[str, Any]:
        """What there is besides kind and text, by name; what is as by default is left out."""
        given = zip(_MORE, self[2:], _DEFAULTS, strict=True)
        return {name: value for name, value, default in given if value != default}

    def to_json(self) -> list[Any] | str:
        """Return `[kind, text]`, and behind it an object of what else there is; of markup the text.

        What a call's own text says, `{"name": ..., "arguments": ...}`, is not said twice.
        """
        more = self.more
        if self.kind == "call" and more and more == _said(self.text):
            more = {}
        if more:
            return [self.kind, self.text, more]
        return self.text if self.kind == "markup" else [self.kind, self.text]

    @classmethod
    def from_json(cls, value: Any) -> Segment:
        """Read what `to_json` wrote; keys that it does not know are left out."""
        if isinstance(value, str):
            return cls("markup", value)
        kind, text = value[:2]
        more = value[2] if len(value) > 2 else (_said(text) or {}) if kind == "call" else {}
        return cls(kind, text, **{key: item for key, item in more.items() if key in _MORE})


def _said(text: str) -> dict[str, Any] | None:
    """Return what a call's text says of itself, if it is a JSON object of a name and arguments."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = isinstance(said, dict) and said.keys() == {"name", "arguments"}
    return said if named and isinstance(said["name"], str) else None


_MORE: Final = Segment._fields[2:]
_DEFAULTS: Final = tuple(Segment._field_defaults.values())


class Block(NamedTuple):
    """What was written at one go, and by whom."""

    by: Writer
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(segment.text for segment in self.segments)

    def to_json(self) -> list[Any]:
        """Return `[by, segments]`."""
        return [self.by, [segment.to_json() for segment in self.segments]]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Block:
        """Read what `to_json` wrote."""
        by, segments = value
        return cls(by, tuple(Segment.from_json(segment) for segment in segments))


def blocks_of(episode: Episode) -> list[Block]:
    """Return what was written in an episode until now."""
    blocks: list[Block] = []
    turns, results, replies = iter(episode.turns), iter(episode.results), _replies(episode.said)
    left, last, asked = len(episode.turns), episode.outcome is not None, 0
    for author, text in episode.segments:
        if author == "task":
            blocks.append(opening_block(text, episode.conversation()))
        elif author == "answer":  # stands once for each turn, behind its thinking
            turn = next(turns)
            left, asked = left - 1, len(turn.requests)
            blocks.append(Block("model", tuple(_turn(turn, final=last and left == 0))))
        elif author == "tool":
            blocks.append(Block("tool", tuple(_results(text, [*islice(results, asked)]))))
        elif author == "user":
            blocks.append(Block("user", tuple(_reply(text, next(replies, [])))))
    return blocks


def _replies(said: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the messages of each reply; in what was said, an answer of the model precedes each."""
    for by_model, messages in groupby(said, key=lambda message: message["role"] == "assistant"):
        if not by_model:
            yield [*messages]


def opening_block(text: str, conversation: Messages) -> Block:
    """Return the block of an episode's prompt, in which the `conversation` is rendered."""
    kinds: dict[Any, Kind] = {"system": "system", "assistant": "text", "tool": "result"}
    segments: list[Segment] = []
    position = 0
    for message in conversation:
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            continue
        found = _find(text, content, position)
        if found is None:
            continue
        segments += _between(text[position : found[0]])
        segments.append(Segment(kinds.get(message.get("role"), "task"), text[slice(*found)]))
        position = found[1]
    if not segments:
        return Block("task", (Segment("task", text),))
    return Block("task", (*segments, *_between(text[position:])))


def _between(text: str) -> Iterator[Segment]:
    """Yield what a dialect put between the messages: marks, or an account of the tools."""
    if len(text) <= _LONGEST_MARKUP:
        yield from _some("markup", text)
        return
    before, behind = _MARKS_BEFORE.match(text), _MARKS_BEHIND.search(text)
    start = 0 if before is None else before.end()
    end = len(text) if behind is None else max(start, behind.start())
    yield from _some("markup", text[:start])
    yield from _some("system", text[start:end])
    yield from _some("markup", text[end:])


def _find(text: str, part: str, start: int) -> tuple[int, int] | None:
    """Return where `part` stands in `text`; a template may have stripped it."""
    for wanted in (part, part.strip()):
        if (at := text.find(wanted, start)) >= 0:
            return at, at + len(wanted)
    return None


def _turn(turn: Turn, *, final: bool) -> Iterator[Segment]:
    text, end = turn.text, turn.thinking_end
    yield from _thinking(text[:end], turn.thinking)
    rest: Kind = "answer" if final and not turn.requests else "text"
    written, closing = _apart_from_closing(text, end)
    position = end
    for request in turn.requests:
        at = written.find(request.raw, position) if request.raw else -1
        if at < 0:  # it came apart from the text, or shares its text with the one before
            shared = request.raw and request.raw in written
            yield _call(request, "" if shared else request.raw)
            continue
        before = written[position:at]
        opening = _BEFORE_CALL.search(before)
        start = len(before) if opening is None else opening.start()
        yield from _some(rest, before[:start])
        yield from _some("markup", before[start:])
        yield _call(request, request.raw)
        position = at + len(request.raw)
        if closed := _BEHIND_CALL.match(written, position):
            yield Segment("markup", closed[0])
            position = closed.end()
    yield from _some(rest, written[position:])
    yield from _some("markup", closing)


def _apart_from_closing(text: str, start: int) -> tuple[str, str]:
    """Return a turn's text without the marker that ends it, and that marker."""
    tail = max(start, len(text) - 64)
    found = _CLOSING.search(text, tail)
    at = len(text) if found is None else found.start()
    return text[:at], text[at:]


def _thinking(text: str, thinking: str) -> Iterator[Segment]:
    if not thinking:
        yield from _some("markup", text)
        return
    at = text.find(thinking)
    if at < 0:
        yield Segment("thinking", text)
        return
    yield from _some("markup", text[:at])
    yield Segment("thinking", thinking)
    yield from _some("markup", text[at + len(thinking) :])


def _call(request: ToolCall | MalformedCall, text: str) -> Segment:
    if isinstance(request, ToolCall):
        return Segment("call", text, request.name, request.arguments)
    return Segment("call", text, error=request.kind)


def _results(text: str, results: Sequence[CallResult]) -> Iterator[Segment]:
    position = 0
    for result in results:
        at = text.find(result.content, position)
        start = position if at < 0 else at
        yield from _some("markup", text[position:start])
        yield Segment(
            "result", "" if at < 0 else result.content, result.name, None, result.kind,
            "" if result.status == "ok" else result.status, round(result.seconds, 6), result.cut,
        )  # fmt: skip
        position = start if at < 0 else at + len(result.content)
    yield from _some("markup" if results else "result", text[position:])


def _reply(text: str, messages: Sequence[Message]) -> Iterator[Segment]:
    position = 0
    for message in messages:
        if place := _find(text, message["content"], position):
            yield from _some("markup", text[position : place[0]])
            kind: Kind = "system" if message["role"] == "system" else "user"
            yield Segment(kind, text[slice(*place)])
            position = place[1]
    yield from _some("markup" if position else "user", text[position:])


def _some(kind: Kind, text: str) -> Iterator[Segment]:
    if text:
        yield Segment(kind, text)
