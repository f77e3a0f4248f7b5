"""Sets and dictionaries of members that somebody else chose, made in bounded time.

Python hashes numbers and tuples the same way in every process, so whoever chooses the members of a
set can choose them all of one hash, and building the set then takes time in the square of their
number. Here such members are refused before they are put in a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]
"""Work in short steps, each of a bounded size: whoever must not stand still may pause between."""

_MOST_MEMBERS: Final = 150_000
_STEP: Final = 1024
_COMPARISONS_EACH: Final = 16
"""Comparisons a member, on average, that members of equal hash may cost. Honest ones meet too:
-1 and -2 have one hash, and so have points in a plane, or in space, that differ by them."""
_BITS_AT_ONCE: Final = 4096
"""Of long integers that differ in the last digit only so much is compared in the time that any
comparison takes."""


class TooCostly(ValueError):
    """Reading the value would take more time or memory than anybody's answer may cost."""


def at_once(work: Work[T]) -> T:
    """Do all of the work now."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def collect(members: list[Any]) -> Work[set[Any]]:
    """Make a set of `members`; raises `TypeError` where one cannot be a member, or `TooCostly`."""
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
            raise TypeError("no pair of a key and a value")
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
        hashes = list(map(hash, stretch))
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
    if isinstance(value, int):
        return 1 + value.bit_length() // _BITS_AT_ONCE
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
