"""What a program is tested by, and when a value is the expected one."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

Check = Callable[[Any], bool]
"""Says whether a returned value, which is plain data, is right."""


@dataclass(frozen=True, slots=True)
class StdinTest:
    """The program gets `input` on its standard input and is to print `output`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class CallTest:
    """`function(*arguments)` is to return a value that passes `check`."""

    function: str
    arguments: tuple[Any, ...]
    check: Check


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """The tests of a task, all of one kind; `prelude` is put before the program (imports).

    `seconds` is the time limit of a single test.
    """

    tests: tuple[StdinTest, ...] | tuple[CallTest, ...]
    prelude: str = ""
    seconds: float = 6.0


def equals(expected: Any) -> Check:
    """Return the check that a value is `expected`; see `same`."""
    return lambda value: same(value, expected)


def same(value: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Say whether two plain values are equal.

    A tuple is as good as a list, for JSON knows no tuples; a bool is no number. A float may lie
    within `tolerance` of an expected float (relative, and absolute near zero); an int and a float
    are equal where they are the same number exactly, as in Python. Members of sets and keys of
    dictionaries have no tolerance.
    """
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return _same_number(value, expected, tolerance)
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(
            same(a, b, tolerance) for a, b in zip(value, expected, strict=True)
        )
    if isinstance(value, dict) and isinstance(expected, dict):
        return _same_members(value, expected) and all(
            same(value[key], expected[key], tolerance) for key in expected
        )
    if isinstance(value, set | frozenset) and isinstance(expected, set | frozenset):
        return _same_members(value, expected)
    return type(value) is type(expected) and bool(value == expected)


def _same_number(value: float, expected: float, tolerance: float) -> bool:
    if type(value) is float and type(expected) is float:
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance) or (
            math.isnan(value) and math.isnan(expected)
        )
    return value == expected


def _same_members(value: Collection[Any], expected: Collection[Any]) -> bool:
    """Compare sets, or keys, member by member: Python finds True where 1 was put in."""
    members = {member: member for member in expected}
    return len(value) == len(members) and all(
        member in members and same(member, members[member], 0.0) for member in value
    )


def contains(container: Any, item: Any) -> bool:
    """Say whether `item in container`, by `same`; a text contains its parts.

    Raises `TypeError` where the container is none, or is a text and the item is not.
    """
    if isinstance(container, str | bytes):
        return operator.contains(container, item)
    return any(same(member, item) for member in container)


def same_output(printed: str, expected: str) -> bool:
    """Say whether a program printed what it should, line by line.

    White space at line ends and empty lines at the end do not count; within a line, words are
    compared, as text or as exact decimal numbers (`1.50` is `1.5`).
    """
    left, right = _lines(printed), _lines(expected)
    return len(left) == len(right) and all(map(_same_line, left, right))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.strip("\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(left: str, right: str) -> bool:
    if left == right:
        return True
    words, wanted = left.split(), right.split()
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    if len(word) > 1000 or len(wanted) > 1000:
        return False
    try:
        left, right = Decimal(word), Decimal(wanted)
    except InvalidOperation:
        return False
    return left.is_finite() and right.is_finite() and left == right
