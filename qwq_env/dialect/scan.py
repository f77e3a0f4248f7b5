"""Read a turn from left to right: what is thinking, what is a call, what is answer.

The thinking ends at the last `</think>` that does not stand inside a call, so a program that
prints `</think>` is still one call, and calls sketched while thinking are not made. The scan
takes linear time: at most `MAX_REQUESTS` calls are read, each in time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from qwq_env.dialect.chatml import END_THINK, THINK
from qwq_env.turn import MalformedCall, ToolCall

Request = ToolCall | MalformedCall

MAX_REQUESTS = 128
"""Calls read of one turn: reading a broken one takes time in proportion to the whole turn."""


class Reading(NamedTuple):
    """One call that was read, and where the text goes on behind it."""

    request: Request
    end: int


class Parts(NamedTuple):
    """A turn taken apart; `prose` is the answer without its calls.

    `thinking_end` is where the thinking ends in the text, its closing tag included.
    """

    thinking: str
    thinking_end: int
    prose: str
    requests: tuple[Request, ...]


def scan(body: str, opening: str, read: Callable[[str, int], Reading]) -> Parts:
    """Take `body` apart; `read(body, start)` reads the call whose `opening` stands at `start`.

    Text that neither opens nor closes a thinking is all answer; text that opens one and never
    closes it is all thinking, and a call in it becomes an `unclosed_thinking`.
    """
    first = body.find(END_THINK)
    if first < 0 and body.lstrip().startswith(THINK):
        requests = unclosed_thinking(body, opening)
        return Parts(thought(body), len(body), "", requests)
    edge, position = 0, max(first, 0)
    sketch = body.rfind(opening, 0, position)
    if sketch >= 0 and read(body, sketch).end > position:
        # The tag stands inside a call, so what comes before that call need not be thinking.
        position = 0
    prose: list[str] = []
    found: list[Request] = []
    reads = 0
    marks = re.compile(f"{re.escape(END_THINK)}|{re.escape(opening)}")
    while mark := marks.search(body, position):
        prose.append(body[position : mark.start()])
        if mark[0] == END_THINK:
            edge = position = mark.end()
            prose.clear()
            found.clear()
            continue
        if reads == MAX_REQUESTS:
            message = f"more than {MAX_REQUESTS} calls in one turn; the rest was not read"
            found.append(MalformedCall("too_many_calls", message))
            return Parts(thought(body[:edge]), edge, "".join(prose).strip(), tuple(found))
        request, position = read(body, mark.start())
        found.append(request)
        reads += 1
    prose.append(body[position:])
    return Parts(thought(body[:edge]), edge, "".join(prose).strip(), tuple(found))


def unclosed_thinking(thinking: str, opening: str) -> tuple[Request, ...]:
    """Return the complaint about a call inside a thinking that never ends, if there is one."""
    if opening not in thinking:
        return ()
    message = f"close the thinking with {END_THINK} before calling a tool"
    return (MalformedCall("unclosed_thinking", message),)


def read_tagged(body: str, start: int, opening: str, closing: str) -> tuple[str | None, int]:
    """Return what stands between two tags, and the end; None if `closing` does not come.

    An unclosed call ends where the next one opens, where a thinking ends, or with the text.
    """
    inside = start + len(opening)
    boundary = re.compile("|".join(map(re.escape, (closing, opening, END_THINK))))
    found = boundary.search(body, inside)
    if found is None:
        return None, len(body)
    if found[0] != closing:
        return None, found.start()
    return body[inside : found.start()], found.end()


def thought(text: str) -> str:
    """Return a thinking without its tags."""
    return text.lstrip().removeprefix(THINK).removesuffix(END_THINK).strip("\n")
