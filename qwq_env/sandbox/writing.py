"""JSON written in pieces, none of which takes long to make; `joined` puts them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from qwq_env.sandbox.collect import Work

CONTAINERS: Final = (list, tuple, set, frozenset, dict)
_STEP: Final = 1024
_PIECE: Final = 65_536
_MOST_NODES: Final = 4096
_NUMBERS: Final = frozenset((int, float, bool, type(None)))


def write_text(text: str) -> Iterator[str]:
    """Yield the JSON of a text."""
    yield '"'
    for begin in range(0, len(text), _PIECE):
        yield json.dumps(text[begin : begin + _PIECE])[1:-1]
    yield '"'


def write_items(
    around: tuple[str, str],
    items: list[Any],
    encode: Callable[[list[Any]], list[Any]],
    write: Callable[[Any], Iterator[str]],
) -> Iterator[str]:
    """Yield `items` with what is to stand around them.

    What is small is written at once, as `encode` has it; where an item may be large, `write` does
    it.
    """
    yield around[0]
    for begin in range(0, len(items), _STEP):
        stretch = items[begin : begin + _STEP]
        if _NUMBERS.issuperset(map(type, stretch)) or _nodes(stretch) <= _MOST_NODES:
            yield f"{', ' if begin else ''}{json.dumps(encode(stretch))[1:-1]}"
            continue
        for number, item in enumerate(stretch, begin):
            if number:
                yield ", "
            yield from write(item)
    yield around[1]


def _nodes(items: list[Any]) -> int:
    """Return how many values are in `items` all the way down, or more than `_MOST_NODES`."""
    count, left = 0, list(items)
    while left and count <= _MOST_NODES:
        value = left.pop()
        kind = type(value)
        count += 1
        if kind is str or kind is bytes:
            count += len(value) // 16
        elif kind in CONTAINERS:
            count += len(value)
            if count <= _MOST_NODES:
                left += value
                left += value.values() if kind is dict else ()
    return count


def joined(pieces: Iterator[str]) -> Work[str]:
    """Put pieces together."""
    parts = []
    for piece in pieces:
        parts.append(piece)
        yield
    return "".join(parts)
