"""Read a turn from left to right: what is thinking, what is a call, what is answer.

The thinking ends at the last `</think>` that does not stand inside a call, so a program that
prints `</think>` is still one call. The scan takes linear time: at most `MAX_REQUESTS` calls are
read, each in time linear in the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

from qwq_env.dialect.chatml import END_THINK, ENDS, PADS, THINK
from qwq_env.turn import MAX_REQUESTS, MalformedCall, ToolCall

Request = ToolCall | MalformedCall

_ENDS = re.compile("|".join(map(re.escape, ENDS)))
_LEADING_PADS = re.compile(rf"\s*(?:(?:{'|'.join(map(re.escape, PADS))})\s*)+(?=\S)")


class Reading(NamedTuple):
    """One call that was read, and where the text goes on behind it.

    `more` are requests that stood in the place of one.
    """

    request: Request
    end: int
    more: tuple[Request, ...] = ()


class Parts(NamedTuple):
    """A turn taken apart; `prose` is the answer without its calls.

    `thinking_end` is where the thinking ends in the text, its closing tag included.
    """

    thinking: str
    thinking_end: int
    prose: str
    requests: tuple[Request, ...]


Reader = Callable[[str, int], Reading]
"""`read(body, start)` reads the call that opens at `start`; its end lies behind `start`."""


def scan(body: str, opening: re.Pattern[str], read: Reader) -> Parts:
    """Take `body` apart where calls are made after the thinking; sketches in it are not calls.

    Text that neither opens nor closes a thinking is all answer; text that opens one and never
    closes it is all thinking, and a call in it becomes an `unclosed_thinking`.
    """
    first = body.find(END_THINK)
    if first < 0 and _opens_thinking(body):
        requests: tuple[Request, ...] = ()
        if opening.search(body):
            message = f"close the thinking with {END_THINK} before calling a tool"
            requests = (MalformedCall("unclosed_thinking", message),)
        return Parts(_thought(body), len(body), "", requests)
    position = max(first, 0)
    if _is_inside_call(body, opening, read, position):
        # What comes before that call need not be thinking.
        position = 0
    return _scan(body, opening, read, position, sketches_count=False)


def first_turn(text: str, opening: re.Pattern[str], read: Reader) -> str:
    """Return the text from behind its leading padding to its first end that is in no call.

    Of an end token in a call's string, as in a program that prints one, the call comes first.
    """
    if led := _LEADING_PADS.match(text):
        text = text[led.end() :]
    for found in itertools.islice(_ENDS.finditer(text), MAX_REQUESTS):
        if not _is_inside_call(text, opening, read, found.start()):
            return text[: found.end()]
    return text


def _is_inside_call(body: str, opening: re.Pattern[str], read: Reader, position: int) -> bool:
    """Say whether `position` lies in a well-formed call; its strings may open others."""
    end = 0
    for start in [mark.start() for mark in opening.finditer(body, 0, position)][-MAX_REQUESTS:]:
        if start < end:
            continue
        reading = read(body, start)
        if isinstance(reading.request, ToolCall):
            end = reading.end
    return end > position


def scan_anywhere(body: str, opening: re.Pattern[str], read: Reader) -> Parts:
    """Take `body` apart where thinking and calls take turns: a call inside the thinking counts."""
    parts = _scan(body, opening, read, 0, sketches_count=True)
    if parts.thinking_end == 0 and _opens_thinking(body):
        return parts._replace(thinking=_thought(body), thinking_end=len(body), prose="")
    return parts


def _scan(
    body: str, opening: re.Pattern[str], read: Reader, position: int, *, sketches_count: bool
) -> Parts:
    edge = reads = 0
    prose: list[str] = []
    found: list[Request] = []
    marks = re.compile(f"(?-i:{END_THINK})|(?:{opening.pattern})", opening.flags)
    while mark := marks.search(body, position):
        prose.append(body[position : mark.start()])
        if mark[0] == END_THINK:
            edge = position = mark.end()
            prose.clear()
            if not sketches_count:
                found.clear()
            continue
        if reads == MAX_REQUESTS:
            message = f"more than {MAX_REQUESTS} calls in one turn; the rest was not read"
            found.append(MalformedCall("too_many_calls", message))
            position = len(body)
            break
        request, position, more = read(body, mark.start())
        found += [request, *more][: MAX_REQUESTS - reads]
        reads = min(reads + 1 + len(more), MAX_REQUESTS)
    prose.append(body[position:])
    return Parts(_thought(body[:edge]), edge, "".join(prose).strip(), tuple(found))


def read_tagged(
    body: str, start: int, opening: str, closing: str, *, behind: int = 0
) -> tuple[str | None, int]:
    """Return what stands between two tags, and the end; None if `closing` does not come.

    A tag before `behind` is not looked for. An unclosed call ends where the next one opens, where a
    thinking ends, or with the text.
    """
    inside = start + len(opening)
    boundary = re.compile("|".join(map(re.escape, (closing, opening, END_THINK))))
    found = boundary.search(body, max(inside, behind))
    if found is None:
        return None, len(body)
    if found[0] != closing:
        return None, found.start()
    return body[inside : found.start()], found.end()


def answer_of(prose: str) -> str:
    """Return what the last `<answer>` holds, closed or not; without one, the whole prose."""
    _, tag, answer = prose.rpartition("<answer>")
    return answer.partition("</answer>")[0].strip() if tag else prose


def _opens_thinking(body: str) -> bool:
    return body.lstrip().startswith(THINK)


def _thought(text: str) -> str:
    return text.lstrip().removeprefix(THINK).removesuffix(END_THINK).strip("\n")
