"""Bounds on numbers too large to compute: enough to say that they are not the reference.

`9^{9^{9^9}}` cannot be written down, but it is above every number that can; so it is another
number, in the caller's process and at no cost, also where the reference is such a number. Only what
is proved counts: a value without a bound here (cancelling sums, functions, symbols) is
`too_complex`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from qwq_env.grading.math.exact import MAX_BITS, exact_operation
from qwq_env.grading.math.tree import Call, Node, Number

__all__ = ["Magnitude", "certainly_different", "magnitude"]


class Magnitude(NamedTuple):
    """A real number x of which 2^bits ≤ |x| is known, or |x| ≤ 2^-bits and x ≠ 0 if `tiny`.

    `sign` is 1 or -1, or 0 where it is not known. `bits` is at least 1 and at most `MAX_BITS`: a
    bound may always be weakened.
    """

    sign: int
    bits: int
    tiny: bool = False


def magnitude(node: Node) -> Fraction | Magnitude | None:
    """The exact value where it can be computed, else a bound, else None.

    Raises ZeroDivisionError for a division by zero.
    """
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Call) or node.name not in _RULES:
        return None
    parts: list[Fraction | Magnitude] = []
    for argument in node.arguments:
        part = magnitude(argument)
        if part is None:
            return None
        parts.append(part)
    numbers = [part for part in parts if isinstance(part, Fraction)]
    value = exact_operation(node.name, numbers) if len(numbers) == len(parts) else None
    return _RULES[node.name](parts) if value is None else value


def certainly_different(
    first: Fraction | Magnitude | None, second: Fraction | Magnitude | None
) -> bool:
    """Whether two values are proved to be different; False where nothing is known."""
    if first is None or second is None:
        return False
    if isinstance(first, Fraction):
        first, second = second, first
    if isinstance(first, Fraction):
        return first != second
    if {_sign(first), _sign(second)} == {1, -1}:
        return True
    if isinstance(second, Magnitude):
        return first.tiny != second.tiny
    if second == 0:
        return True
    return _log2(second) >= -first.bits if first.tiny else _log2(second) + 2 <= first.bits


def _bounded(sign: int, bits: int, tiny: bool = False) -> Magnitude | None:
    return Magnitude(sign, min(bits, MAX_BITS), tiny) if bits >= 1 else None


def _log2(value: Fraction) -> int:
    """An integer at most log2 |value| and more than two below it; `value` is not 0."""
    return value.numerator.bit_length() - value.denominator.bit_length() - 1


def _sign(value: Fraction | Magnitude) -> int:
    if isinstance(value, Magnitude):
        return value.sign
    return (value > 0) - (value < 0)


def _negative(parts: list[Fraction | Magnitude]) -> Fraction | Magnitude | None:
    (part,) = parts
    return part._replace(sign=-part.sign) if isinstance(part, Magnitude) else -part


def _absolute(parts: list[Fraction | Magnitude]) -> Fraction | Magnitude | None:
    (part,) = parts
    return part._replace(sign=1) if isinstance(part, Magnitude) else abs(part)


def _sum(parts: list[Fraction | Magnitude]) -> Magnitude | None:
    """Terms of one sign only: nothing can cancel, and the largest bound holds for all."""
    kept = [part for part in parts if part != 0]
    signs = {_sign(part) for part in kept}
    large = [part.bits for part in kept if isinstance(part, Magnitude) and not part.tiny]
    if len(signs) != 1 or 0 in signs or not large:
        return None
    return _bounded(signs.pop(), max(large))


def _product(parts: list[Fraction | Magnitude]) -> Fraction | Magnitude | None:
    first, second = parts
    if 0 in (first, second):
        return Fraction(0)
    sign = _sign(first) * _sign(second)
    if isinstance(first, Fraction):
        first, second = second, first
    if not isinstance(first, Magnitude):
        return None  # two numbers whose product is too long to be computed
    if isinstance(second, Magnitude):
        return _bounded(sign, first.bits, first.tiny) if first.tiny == second.tiny else None
    gained = -_log2(second) - 2 if first.tiny else _log2(second)
    return _bounded(sign, first.bits + gained, first.tiny)


def _quotient(parts: list[Fraction | Magnitude]) -> Fraction | Magnitude | None:
    top, bottom = parts
    if isinstance(bottom, Magnitude):
        return _product([top, bottom._replace(tiny=not bottom.tiny)])
    return _product([top, 1 / bottom])


def _power(parts: list[Fraction | Magnitude]) -> Magnitude | None:
    """Powers of a positive base; of a negative one only where the exponent is an integer."""
    base, exponent = parts
    if base == 0 or exponent == 0 or _sign(exponent) == 0:
        return None
    sign = 1
    if _sign(base) != 1:
        if not isinstance(exponent, Fraction) or exponent.denominator != 1:
            return None
        sign = _sign(base) if exponent.numerator % 2 else 1
    growth = _growth(base)
    if growth is None:
        return None
    gained, shrinks = growth
    return _bounded(sign, int(gained * _least(exponent)), shrinks != (_sign(exponent) < 0))


def _growth(base: Fraction | Magnitude) -> tuple[Fraction, bool] | None:
    """A lower bound of |log2 |base||, and whether that logarithm is negative; None for ±1."""
    if isinstance(base, Magnitude):
        return Fraction(base.bits), base.tiny
    shrinks = abs(base) < 1
    size = 1 / abs(base) if shrinks else abs(base)
    if size == 1:
        return None
    if size < 2:
        return size - 1, shrinks  # log2(1 + x) ≥ x for x from 0 to 1
    return Fraction(max(_log2(size), 1)), shrinks


def _least(value: Fraction | Magnitude) -> Fraction:
    """A lower bound of |value|."""
    if isinstance(value, Fraction):
        return abs(value)
    return Fraction(0) if value.tiny else Fraction(2**value.bits)


def _root(parts: list[Fraction | Magnitude]) -> Magnitude | None:
    radicand, degree = parts
    if not isinstance(radicand, Magnitude) or not isinstance(degree, Fraction):
        return None
    if radicand.sign != 1 or degree.denominator != 1 or degree < 1:
        return None
    return _bounded(1, radicand.bits // degree.numerator, radicand.tiny)


def _factorial(parts: list[Fraction | Magnitude]) -> Magnitude | None:
    (part,) = parts
    if not isinstance(part, Fraction) or part.denominator != 1 or part < 4:
        return None
    return _bounded(1, min(part.numerator, MAX_BITS))  # n! ≥ 2^n from 4 on


_RULES: dict[str, Callable[[list[Fraction | Magnitude]], Fraction | Magnitude | None]] = {
    "neg": _negative,
    "abs": _absolute,
    "add": _sum,
    "mul": _product,
    "div": _quotient,
    "pow": _power,
    "root": _root,
    "factorial": _factorial,
}
