"""Where in a response the answer stands: after the thinking, in the last box.

A grader must not look into the thinking (a model that tries out values there would be paid for
having mentioned the right one) and must take one answer only, the last. Everything here is linear
in the length of the text, because the text is hostile: a megabyte of `\\boxed{` costs what a
megabyte of prose costs.
"""

import re
from typing import NamedTuple

__all__ = [
    "SEARCH_WINDOW",
    "Box",
    "final_answer_text",
    "find_last_box",
    "last_boxed",
    "qwq_answer_text",
]

SEARCH_WINDOW = 65_536
"""Characters from the end of a text in which a box is looked for; a longer box is no answer."""

_THINKING_END = "</think>"
_BOX = r"(?:boxed|fbox|framebox|beginboxed)"
_TOKEN = re.compile(rf"\\(?P<box>{_BOX})(?![A-Za-z])|\\.|(?P<open>\{{)|(?P<close>\}})", re.DOTALL)
_BARE = re.compile(r"[ \t]*(?P<content>[0-9]+|[ \t][^$\n\\{}]{1,80})")
_SPACE = re.compile(r"\s*")
_NOTHING = re.compile(r"[\s$]*")
_NO_CONTENT = re.compile(r"(?:[\s$~.…]|\\[,;:! ]|\\[lc]?dots(?![A-Za-z]))*")
"""What stands in a box that is only spoken of: nothing, or dots."""
_WHOLE_BOX = re.compile(rf"[\s$]*\\{_BOX}\s*\{{")


def final_answer_text(text: str) -> str:
    """What the model wrote after the last `</think>`: the only part that is graded.

    Without any `</think>` the whole text is the answer, unless it opens a thinking block: a thought
    that was never finished has no answer, and "" is returned. A block opened again after the last
    end is cut off.
    """
    end = text.rfind(_THINKING_END)
    rest = text if end < 0 else text[end + len(_THINKING_END) :]
    opened = rest.find("<think>")
    if opened < 0:
        return rest
    return "" if end < 0 else rest[:opened]


def qwq_answer_text(text: str) -> str:
    """What QwQ's own evaluation grades: all behind the first `\\n</think>\\n\\n`, or, where there
    is none, the thinking too."""
    before, end, answer = text.partition("\n</think>\n\n")
    return answer if end else before


def last_boxed(text: str) -> str | None:
    """The content of the last complete `\\boxed{...}` (or `\\fbox`, `\\framebox`), or None.

    Braces are balanced and escaped ones (`\\{`) do not count; of nested boxes the outermost wins,
    and a box that holds nothing but another box gives the inner content. `\\boxed 5` counts too.
    A box that is never closed is passed over, and so is an empty one ("put it inside `\\boxed{}`")
    behind one that is not. Only the last `SEARCH_WINDOW` characters are looked
    at.
    """
    found = find_last_box(text[-SEARCH_WINDOW:])
    return found and found.content


class Box(NamedTuple):
    """The content of a box and where in the searched text the content ends.

    `content` is None for a text in which no box is complete but one was begun and never closed.
    """

    content: str | None
    end: int


def find_last_box(text: str) -> Box | None:
    """`last_boxed` over the whole text, with the place of the box."""
    open_braces: list[int | None] = []  # start of the content for a box's brace, else None
    closed: dict[int, int] = {}  # start of a box's content → its end
    best: tuple[int, int] | None = None
    box_brace = -1
    for token in _TOKEN.finditer(text):
        if token["box"]:
            after = _space_end(text, token.end())
            if text.startswith("{", after):
                box_brace = after
            elif bare := _BARE.match(text, token.end()):
                best = bare.span("content")
        elif token["open"]:
            position = token.start()
            open_braces.append(position + 1 if position == box_brace else None)
        elif token["close"] and open_braces:
            start = open_braces.pop()
            if start is not None:
                closed[start] = token.start()
                if best is None or not _NO_CONTENT.fullmatch(text, start, token.start()):
                    best = (start, token.start())
    if best is None:
        unclosed = any(start is not None for start in open_braces)
        return Box(None, len(text)) if unclosed else None
    start, end = _innermost(text, *best, closed)
    return Box(text[start:end].strip(), best[1])


def _innermost(text: str, start: int, end: int, closed: dict[int, int]) -> tuple[int, int]:
    """The span inside all boxes that hold nothing but the next one."""
    while match := _WHOLE_BOX.match(text, start, end):
        inner = match.end()
        if inner not in closed or not _NOTHING.fullmatch(text, closed[inner] + 1, end):
            break
        start, end = inner, closed[inner]
    return start, end


def _space_end(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
