"""Plain data across the wall: values of builtin types, written as JSON and built anew outside.

A solution may return an object that equals everything, or one that runs code when it is
unpickled. So nothing is pickled, and nothing of the returned object travels but its plain
content, read by exact type: what arrives outside is None, bool, int, float, str, bytes, list,
tuple, dict, set or frozenset, all the way down.

What arrives may be forged. Python hashes numbers and tuples the same way in every process, so
whoever chooses the members of a set can choose them all of one hash, and building the set then
takes time in the square of their number. `collect` refuses such members before it builds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]
"""Work in short steps, each of a bounded size: whoever must not stand still may pause between."""

MAX_DEPTH: Final = 60
_DECIMAL_BITS: Final = 1024
"""Longer integers travel as hexadecimal: reading decimal takes time in the square of the digits,
and Python refuses more than 4,300 of them."""
_MOST_BITS: Final = 1 << 22
_AS_THEY_ARE: Final = frozenset((type(None), bool, str, float))
_MOST_MEMBERS: Final = 150_000
_STEP: Final = 1024
_PIECE: Final = 65_536
_MOST_NODES: Final = 4096
_NUMBERS: Final = frozenset((int, float, bool, type(None)))
_CONTAINERS: Final = (list, tuple, set, frozenset, dict)
_COMPARISONS_EACH: Final = 16
"""Comparisons a member, on average, that members of equal hash may cost. Honest ones meet too:
-1 and -2 have one hash, and so have points in a plane, or in space, that differ by them."""


class NotPlain(TypeError):
    """The value holds something that is not plain data, or is nested too deeply."""


class TooCostly(ValueError):
    """Reading the value would take more time or memory than anybody's answer may cost."""


def encode(value: object) -> Any:
    """Return what `json.dumps` takes, tagged where JSON lacks the type; raises `NotPlain`."""
    return _encode(value, 0)


def _encode(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is int:
        return value if value.bit_length() <= _DECIMAL_BITS else {"i": _hexadecimal(value)}
    if depth > MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return _encode_items(value, depth)
    if kind is dict:
        pairs = [[_encode(key, depth + 1), _encode(item, depth + 1)] for key, item in value.items()]
        return {"d": pairs}
    if kind is tuple or kind is set or kind is frozenset:
        return {kind.__name__[0]: _encode_items(value, depth)}
    if kind is bytes:
        return {"b": value.hex()}
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return _encode(value.tolist(), depth + 1)
    raise NotPlain(f"{kind.__name__} is not plain data")


def _hexadecimal(value: int) -> str:
    if value.bit_length() > _MOST_BITS:
        raise NotPlain(f"an integer of more than {_MOST_BITS} bits")
    return hex(value)


def _encode_items(items: Iterable[Any], depth: int) -> list[Any]:
    items = list(items)
    return items if is_json(items) else [_encode(item, depth + 1) for item in items]


def is_json(items: list[Any]) -> bool:
    """Say whether every item is one that stands for itself, fast for long lists of numbers."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return max(items).bit_length() <= _DECIMAL_BITS and min(items).bit_length() <= _DECIMAL_BITS
    return kinds <= _AS_THEY_ARE


def writing(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the JSON of `encode(value)` piece by piece, none of which takes long to make."""
    kind = type(value)
    if depth > MAX_DEPTH or kind not in _CONTAINERS:
        yield from writing_text(value) if kind is str else (json.dumps(_encode(value, depth)),)
        return
    items = [list(pair) for pair in value.items()] if kind is dict else list(value)
    around = ("[", "]") if kind is list else (f'{{"{kind.__name__[0]}":[', "]}")
    yield from writing_items(
        around,
        items,
        lambda few: _encode_items(few, depth),
        lambda item: writing(item, depth + 1),
    )


def writing_text(text: str) -> Iterator[str]:
    """Yield the JSON of a text."""
    yield '"'
    for begin in range(0, len(text), _PIECE):
        yield json.dumps(text[begin : begin + _PIECE])[1:-1]
    yield '"'


def writing_items(
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
        elif kind in _CONTAINERS:
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


def build(data: dict[str, Any]) -> Any:
    """Return the value of one tagged object whose content was built already: an `object_hook`."""
    return at_once(building(data))


def building(data: dict[str, Any]) -> Work[Any]:
    """`build` in short steps; raises `NotPlain` or `TooCostly`."""
    if len(data) != 1:
        raise NotPlain("malformed")
    ((tag, content),) = data.items()
    if tag in ("b", "i") and type(content) is str:
        try:
            return bytes.fromhex(content) if tag == "b" else integer(content)
        except ValueError:
            raise NotPlain("malformed") from None
    if tag not in ("t", "s", "f", "d") or type(content) is not list:
        raise NotPlain("malformed")
    if tag == "t":
        return tuple(content)
    if tag == "d":
        return (yield from collect_pairs(content))
    members = yield from collect(content)
    return members if tag == "s" else frozenset(members)


def integer(text: str) -> int:
    """Return an integer written as hexadecimal, in time in proportion to its digits."""
    if 4 * (len(text) - len("-0x")) > _MOST_BITS:
        raise TooCostly(f"an integer of more than {_MOST_BITS} bits")
    return int(text, 16)


def at_once(work: Work[T]) -> T:
    """Do all of the work now."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def collect(members: list[Any]) -> Work[set[Any]]:
    """Make a set of `members`; raises `NotPlain` where one cannot be a member, or `TooCostly`."""
    result: set[Any] = set()
    for begin in _hashed(members):
        result.update(members[begin : begin + _STEP])
        yield
    return result


def collect_pairs(pairs: list[Any]) -> Work[dict[Any, Any]]:
    """Make a dictionary of `[key, value]` lists, as `collect` makes a set."""
    keys = []
    for number, pair in enumerate(pairs):
        if type(pair) is not list or len(pair) != 2:
            raise NotPlain("malformed")
        keys.append(pair[0])
        if number % _STEP == 0:
            yield
    result: dict[Any, Any] = {}
    for begin in _hashed(keys):
        result.update(pairs[begin : begin + _STEP])
        yield
    return result


def _hashed(members: list[Any]) -> Iterable[int]:
    """Yield where each next stretch of `members` begins that may be put in a table, as is cheap."""
    if len(members) > _MOST_MEMBERS:
        raise TooCostly(f"more than {_MOST_MEMBERS} members of a set, or keys")
    counts: Counter[int] = Counter()
    for begin in range(0, len(members), _STEP):
        stretch = members[begin : begin + _STEP]
        try:
            hashes = list(map(hash, stretch))
        except TypeError:
            raise NotPlain("malformed") from None
        counts.update(hashes)
        if len(counts) < begin + len(stretch):
            _afford(stretch, hashes, counts)
        yield begin


def _afford(stretch: list[Any], hashes: list[int], counts: Counter[int]) -> None:
    """Refuse members of equal hashes that would have to be compared too often."""
    left = _COMPARISONS_EACH * len(stretch) + 1024
    for member, number in zip(stretch, hashes, strict=True):
        if counts[number] > 1:
            left -= (counts[number] - 1) * _weight(member, left)
            if left < 0:
                raise TooCostly("too many members of a set, or keys, of one hash")


def _weight(value: Any, most: int) -> int:
    """Return how many comparisons may tell `value` from another, or more than `most`."""
    if not isinstance(value, tuple | frozenset):
        return 1
    weight = 1
    for item in value:
        weight += _weight(item, most - weight)
        if weight > most:
            return weight
    if isinstance(value, frozenset) and value:
        weight *= max(Counter(map(hash, value)).values())
    return weight
