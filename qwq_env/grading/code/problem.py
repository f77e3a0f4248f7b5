"""What a program is tested by, and when a value is the expected one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], bool]
"""Says whether a returned value, which is plain data, is right."""

# From here on a float does not tell an integer from its neighbours.
_EXACT_FLOATS = 2**53


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
class Script:
    """Test code that calls `functions` of the solution, each assertion a test of its own.

    `sources` are what the tests need (imports, helpers), and the tests. `closing` is set-up code
    that needs the names of the solution, and is put behind it.
    """

    sources: tuple[str, str]
    functions: tuple[str, ...]
    closing: str = ""


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """The tests of a task, all of one kind; `prelude` is put before the program.

    A prelude holds what the judge of the dataset puts there: imports, a recursion limit, the
    helper functions that the task shows. `seconds` is the time limit of a single test.
    """

    tests: tuple[StdinTest, ...] | tuple[CallTest, ...] | tuple[Script]
    prelude: str = ""
    seconds: float = 6.0


@dataclass(frozen=True, slots=True)
class Equals:
    """The check that a value is `expected`, which was published as JSON.

    With `wrapped` the first item of an expected list is as good as the list (APPS writes both).
    An expected dictionary whose keys are integers in text may have integers for keys: JSON knows
    no others.
    """

    expected: Any
    wrapped: bool = False

    def __call__(self, value: Any) -> bool:
        """Say whether the value is right for a reward: see `same`."""
        return any(same(value, expected) for expected in self._readings())

    def exactly(self, value: Any) -> bool:
        """Say whether the value is right for the judges of LiveCodeBench and APPS: by `==`."""
        given = list(value) if type(value) is tuple else value
        # APPS's judge makes integers of such keys, LiveCodeBench's does not.
        readings = self._readings() if self.wrapped else [self.expected]
        return any(bool(given == expected) for expected in readings)

    def _readings(self) -> Iterator[Any]:
        yield self.expected
        inner = self.wrapped and isinstance(self.expected, list) and self.expected[:1]
        if inner:
            yield inner[0]
        for reading in (self.expected, *(inner or ())):
            if (keyed := with_integer_keys(reading)) is not reading:
                yield keyed


def with_integer_keys(value: Any) -> Any:
    """Return a dictionary whose keys are all integers in text with integers instead.

    Anything else is returned as it is.
    """
    if not isinstance(value, dict) or not value or not all(map(_is_integer, value)):
        return value
    return {int(key): item for key, item in value.items()}


def _is_integer(key: Any) -> bool:
    return isinstance(key, str) and re.fullmatch("-?[0-9]{1,300}", key) is not None


def same(value: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Say whether two plain values are equal.

    A tuple is as good as a list, for JSON knows no tuples; a bool is no number. A float may lie
    within `tolerance` of an expected float (relative, and absolute near zero); an int and a float
    are equal where they are the same number exactly, as in Python, and an int also where an
    expected float of 2**53 or more is the nearest to it. Members of sets and keys of dictionaries
    have no tolerance. The cost is bounded by the size of `expected`.
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
    if type(value) is int and type(expected) is float and _EXACT_FLOATS <= abs(expected) < math.inf:
        return _nearest(value) == expected
    return value == expected


def _nearest(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _same_members(value: Collection[Any], expected: Collection[Any]) -> bool:
    """Compare sets, or keys, member by member: Python finds True where 1 was put in."""
    members = {member: member for member in expected}
    return len(value) == len(members) and all(
        member in members and same(member, members[member], 0.0) for member in value
    )
