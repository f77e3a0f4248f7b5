"""The program in a response: the last fenced Python block after the thinking.

Fences are read as CommonMark reads them, in one pass, since the text is a policy's: three or more
backticks or tildes, as far in as a list puts them, closed by a line of at least as many of the
same that stands no more than three columns further in. So a docstring may show a fence of its
own, and a longer fence may hold shorter ones. Beyond CommonMark, a fence that is tagged as Python
begins a block within any other: models wrap a whole answer in one of Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from qwq_env.grading.answer import final_answer_text

# Possessive: what a policy writes must not make it try every way to split a line.
_FENCE = re.compile(
    r"^(?P<indent>[ \t]*+)(?P<marker>(?:[-*+]|[0-9]{1,9}[.)])[ \t]++)?+"
    r"(?P<fence>`{3,}+|~{3,}+)(?P<info>[^\n]*+)",
    re.MULTILINE,
)
_LANGUAGE = re.compile(r"\s*+(?:\{[^.}\n]*+\.?)?\s*+([^\s{},:;=]*+)")
_PYTHON = re.compile(r"(?:[ci]?python|py|pypy)[-_]?[\d.]*", re.IGNORECASE)


class Block(NamedTuple):
    """A fenced block: the first word behind its opening fence, and what stands inside."""

    language: str
    text: str


def program_of(response: str) -> str | None:
    """Return the last fenced Python block after the thinking, None if there is none.

    A block that is tagged as Python comes before any that bears no tag, which may be the output
    of the program or an example of its input; a block of blanks is no program. A block that is
    never closed is none either: the response was cut off in the midst of it.
    """
    tagged = bare = None
    for block in blocks(final_answer_text(response)):
        if not block.text.strip():
            continue
        if _PYTHON.fullmatch(block.language):
            tagged = block.text
        elif not block.language:
            bare = block.text
    return bare if tagged is None else tagged


def blocks(text: str) -> Iterator[Block]:
    """Yield the closed blocks of a text in their order."""
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is not None and _closes(fence, opening):
            body = text[opening.end() + 1 : fence.start()]
            yield Block(_language(opening), _outdented(body, _columns(opening)))
            opening = None
        elif fence["fence"][0] == "`" and "`" in fence["info"]:
            continue  # code in a sentence
        elif opening is None or (_is_python(fence) and not _is_python(opening)):
            opening = fence


def _language(fence: re.Match[str]) -> str:
    found = _LANGUAGE.match(fence["info"])
    return found[1] if found else ""


def _is_python(fence: re.Match[str]) -> bool:
    return _PYTHON.fullmatch(_language(fence)) is not None


def _columns(fence: re.Match[str]) -> int:
    return len(f"{fence['indent']}{fence['marker'] or ''}".expandtabs(4))


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return (
        fence["fence"][0] == opening["fence"][0]
        and len(fence["fence"]) >= len(opening["fence"])
        and not fence["info"].strip()
        and not fence["marker"]
        and _columns(fence) <= _columns(opening) + 3
    )


def _outdented(body: str, columns: int) -> str:
    """Take that many columns of white space off each line, or as many as there are."""
    if not columns:
        return body
    return "\n".join(_without(line, columns) for line in body.split("\n"))


def _without(line: str, columns: int) -> str:
    column = 0
    for place, character in enumerate(line):
        if column >= columns or character not in " \t":
            return line[place:]
        column += 4 - column % 4 if character == "\t" else 1
    return ""
