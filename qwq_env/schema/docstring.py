"""A docstring's prose and what it says of each parameter, in the style of Google, NumPy or Sphinx.

Sections that are not about parameters (what is returned or raised, examples, notes) are written for
programmers, and left out. Epydoc's `@param` is read as Sphinx's `:param`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple


class Docstring(NamedTuple):
    """`prose` without its sections, and the description of each parameter that has one."""

    prose: str
    parameters: dict[str, str]


_OF_PARAMETERS: Final = frozenset({
    "args", "arguments", "params", "parameters", "keyword args", "keyword arguments",
    "other parameters", "attributes",
})  # fmt: skip
_OTHERS: Final = frozenset({
    "returns", "return", "raises", "raise", "yields", "yield", "receives", "warns", "example",
    "examples", "note", "notes", "warning", "warnings", "see also", "references", "todo", "methods",
})  # fmt: skip
_GOOGLE = re.compile(r"^([A-Za-z][A-Za-z ]*):\s*$")
_GOOGLE_ENTRY = re.compile(r"^\s*\*{0,2}(\w+)\s*(?:\(.*?\))?\s*:(?:\s+(.*))?$")
_NUMPY_ENTRY = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_UNDERLINE = re.compile(r"^\s*-{3,}\s*$")
_FIELD = re.compile(r"^\s*[:@]([a-z]+)\b([^:]*):(?:\s+(.*))?$")
_FIELDS_OF_PARAMETERS: Final = frozenset(
    {"param", "parameter", "arg", "argument", "key", "keyword", "var", "ivar", "attr"}
)
_OTHER_FIELDS: Final = frozenset({
    "type", "vartype", "return", "returns", "rtype", "raise", "raises", "except", "exception",
    "yield", "yields", "ytype", "meta",
})  # fmt: skip


def read_docstring(text: str) -> Docstring:
    """Read a docstring whose common indentation is gone (`inspect.getdoc`)."""
    prose: list[str] = []
    parameters: dict[str, str] = {}
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        end = _end_of_section(lines, start) or _end_of_field(lines, start)
        if not end:
            prose.append(lines[start].rstrip())
            start += 1
            continue
        for name, words in _entries(lines[start:end]):
            parameters[name] = " ".join(" ".join(words).split())
        start = end
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip()
    return Docstring(joined, {name: words for name, words in parameters.items() if words})


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _heading(lines: Sequence[str], at: int) -> tuple[str, bool]:
    """Return the name of the section that begins there, or "", and whether it is NumPy's."""
    underlined = at + 1 < len(lines) and _UNDERLINE.match(lines[at + 1]) is not None
    found = lines[at].strip() if underlined else (_GOOGLE.match(lines[at]) or [""] * 2)[1]
    name = found.lower().rstrip(":")
    return (name, underlined) if name in _OF_PARAMETERS | _OTHERS else ("", False)


def _end_of_section(lines: Sequence[str], start: int) -> int:
    """Return where the section ends that begins at `start`, 0 if none does."""
    name, numpy = _heading(lines, start)
    if not name:
        return 0
    inside = start + 2 if numpy else start + 1
    for at in range(inside, len(lines)):
        line = lines[at]
        if _heading(lines, at)[0] or _end_of_field(lines, at):
            return at
        # What stands at the margin is prose again, but for the entries of NumPy's sections.
        at_margin = bool(line.strip()) and _indent(line) == 0
        if at_margin and not numpy and not _is_entry(name, line):
            return at
    return len(lines)


def _is_entry(section: str, line: str) -> bool:
    return section in _OF_PARAMETERS and _GOOGLE_ENTRY.match(line) is not None


def _end_of_field(lines: Sequence[str], start: int) -> int:
    """Return where a field such as `:param x: ...` ends, 0 if none begins at `start`."""
    field = _FIELD.match(lines[start])
    if field is None or field[1] not in _FIELDS_OF_PARAMETERS | _OTHER_FIELDS:
        return 0
    end = start + 1
    while end < len(lines) and _indent(lines[end]) > _indent(lines[start]):
        end += 1
    return end


def _entries(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the parameters that a section or a field tells of, with their words."""
    if field := _FIELD.match(lines[0]):
        if field[1] in _FIELDS_OF_PARAMETERS and (names := field[2].split()):
            yield names[-1].lstrip("*"), [field[3] or "", *lines[1:]]
        return
    name, numpy = _heading(lines, 0)
    if name not in _OF_PARAMETERS:
        return
    body = [line for line in lines[2 if numpy else 1 :] if line.strip()]
    margin = _indent(body[0]) if body else 0
    entry = _NUMPY_ENTRY if numpy else _GOOGLE_ENTRY
    current: list[tuple[str, list[str]]] = []
    for line in body:
        found = entry.match(line.strip()) if _indent(line) <= margin else None
        if found:
            yield from current
            names = [each.strip().lstrip("*") for each in found[1].split(",")]
            first = "" if numpy else found[2] or ""
            current = [(each, [first]) for each in names]
        else:
            for _, words in current:
                words.append(line)
    yield from current
