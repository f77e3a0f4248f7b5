"""Checks of the numbers that bound things: limits, deadlines, sizes.

A bound of the wrong kind (`None`, `"3"`, NaN) must be refused where it is given, in one line, and
not end an episode with a traceback where it is first compared.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from qwq_env.errors import UsageError, brief


def is_number(value: object) -> bool:
    """Say whether `value` is a real number; NaN is one in name only, and True is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def check_positive(field: str, value: object, *, optional: bool = False) -> None:
    """Raise `UsageError` unless `value` is a number above 0, infinity included.

    `optional` allows None too, which stands for no bound.
    """
    if optional and value is None:
        return
    if not is_number(value) or not _above_zero(value):
        _refuse(field, value, "a number above 0", optional)


def check_whole(field: str, value: object, *, optional: bool = False) -> None:
    """Raise `UsageError` unless `value` is a whole number of 1 or more; `optional` as above."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or not _above_zero(value):
        _refuse(field, value, "a whole number above 0", optional)


def _above_zero(value: Any) -> bool:
    return bool(value > 0)


def _refuse(field: str, value: object, expected: str, optional: bool) -> None:
    raise UsageError(f"{field}: {brief(value)}; expected {expected}{', or None' * optional}")
