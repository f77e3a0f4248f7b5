"""The heads of a file's rows: what a table shows of them, without reading the rest.

A row says how long the rest of it is (`tail`), so the rows of gigabytes are gone through by their
heads alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_object
from qwq_env.short_rows import head_in_full
from qwq_env.trajectory import HEAD_ENDS, SCHEMA

_TAIL: Final = f',"{HEAD_ENDS}":'.encode()
_LENGTH: Final = re.compile(rb'"tail":([0-9]{1,12})\Z')
OURS: Final = tuple(b'{"schema":%d,' % version for version in (3, SCHEMA))
"""How a row begins that is as `EpisodeStore` writes it."""
_USUAL_HEAD: Final = 1024
_LONGEST_HEAD: Final = 1 << 20


def lines_of(file: Path, offset: int, before: int) -> Iterator[tuple[int, tuple[int, int], bytes]]:
    """Yield the number, the place and the bytes of each line from `offset` on, `before` are others.

    Of a row that says where it ends, only the head is looked at, and given: the rest of a large
    run is gigabytes. Blank lines are left out, and a last one that is still being written.
    """
    # Not mapped into memory: a run that begins again cuts off its torn line, and who still reads
    # the pages behind the new end is killed.
    with file.open("rb") as lines:
        size, number = os.fstat(lines.fileno()).st_size, before
        while offset < size:
            number += 1
            head, end = _head(lines.fileno(), offset)
            if not head:
                lines.seek(offset)
                head = lines.readline()
                end = offset + len(head)
                if not head.endswith(b"\n"):
                    return
            if not head.isspace():
                yield number, (offset, end - offset), head
            offset = end


def _head(descriptor: int, offset: int) -> tuple[bytes, int]:
    """Return the head of the row at `offset` and the row's end; nothing if it does not say that."""
    length, at = _USUAL_HEAD, -1
    while at < 0:
        data = os.pread(descriptor, length, offset)
        at = data.find(_TAIL)
        if at < 0 and (len(data) < length or length >= _LONGEST_HEAD or b"\n" in data):
            return b"", offset
        length *= 8
    head = data[:at]
    told = None if b"\n" in head else _LENGTH.search(head)
    end = offset + at + int(told[1]) if told else offset
    whole = end > offset and os.pread(descriptor, 1, end - 1) == b"\n"
    return (head, end) if whole else (b"", offset)


def read_head(line: bytes) -> dict[str, Any]:
    """Return what a table shows of a row, of which `line` may be the head alone.

    Raises `UsageError` saying what is wrong with it.
    """
    at = line.find(_TAIL)
    head = None
    if not line.endswith(b"\n") or (at > 0 and line.endswith(b"}\n")):
        try:
            head = json.loads(line[: at if at > 0 else None].decode() + "}")
        except ValueError:
            head = None  # the words stand inside of something else
    if head is None:
        # Columns of a row of version 1 would fill the memory.
        row = read_object(line, constants=True)
        head = {key: value for key, value in row.items() if key not in _LONG}
        if isinstance(ids := row.get("ids"), list):
            head["length"] = len(ids)
    version = head.get("schema", 1)
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise UsageError(f"schema {brief(version)}; expected {SCHEMA} at most: another version")
    head = head_in_full(head)
    for key, (expected, holds) in _FORMS.items():
        if not holds(head.get(key)):
            raise UsageError(f"not an episode: {key} {brief(head.get(key))}; expected {expected}")
    return head


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _ends(value: Any) -> bool:
    """Whether it is an outcome."""
    return isinstance(value, dict) and all(
        isinstance(value.get(name, missing), str)
        for name, missing in (("kind", None), ("reason", None), ("detail", ""))
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number, also one that is infinite or none: Python writes those, too."""
    return isinstance(value, int | float)


def _is_count(value: Any) -> bool:
    return value is None or _is_number(value)


def _names(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return whether something is nothing, or an object of such values."""
    return lambda given: (
        given is None or (isinstance(given, dict) and all(holds(value) for value in given.values()))
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


_FORMS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "outcome": ("kind and reason", _ends),
    "task_id": ("a text", _is_text),
    "episode": ("a text", _is_text),
    "scores": ("numbers by name", _names(lambda score: True)),
    "reasons": ("texts by name", _names(_are_texts)),
    "counts": ("numbers by name", _names(_is_number)),
    "seconds": ("numbers by name", _names(_is_number)),
    "tokens": ("numbers by name", _names(_is_number)),
    "turns": ("a number", _is_count),
    "tool_calls": ("a number", _is_count),
}
"""What a head is read for, and what it must be for that. A reward or a score that is no number is
no damage: it counts as undecided, as in `Trajectory.from_json`."""

_LONG: Final = frozenset(
    ("transcript", "ids", "mask", "logprobs", "spans", "earlier", "messages", "answer", "reference")
)
