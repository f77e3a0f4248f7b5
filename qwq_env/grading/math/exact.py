"""Exact values: what a tree is worth when it is a rational number, in pure integer arithmetic.

No floating point, so 1/2^99 and 1/2^98 differ; and bounded, so 9^9^9 and 100000! are left alone
before they are computed.
"""

from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial, gcd, lcm, prod

from qwq_env.grading.math.tree import Node, Number, Symbol

__all__ = ["MAX_BITS", "exact_operation", "exact_value"]

MAX_BITS = 100_000
_MAX_FACTORIAL = 3_000


def exact_value(node: Node) -> Fraction | None:
    """The value as a fraction, or None when the tree is not built of rational operations.

    None too when numerator or denominator would pass `MAX_BITS`. Raises ZeroDivisionError for a
    division by zero.
    """
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Symbol):
        return None
    if node.name not in _OPERATIONS:
        return None
    values = []
    for argument in node.arguments:
        value = exact_value(argument)
        if value is None:
            return None
        values.append(value)
    return exact_operation(node.name, values)


def exact_operation(name: str, values: list[Fraction]) -> Fraction | None:
    """One rational operation, bounded as in `exact_value`; None for one that there is not."""
    operation = _OPERATIONS.get(name)
    result = operation(values) if operation else None
    return None if result is None or _bits(result) > MAX_BITS else result


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _product(values: list[Fraction]) -> Fraction:
    return values[0] * values[1]


def _power(values: list[Fraction]) -> Fraction | None:
    base, exponent = values
    if exponent.denominator != 1:
        return (
            _root([base**exponent.numerator, Fraction(exponent.denominator)])
            if (
                abs(exponent.numerator) * _bits(base) <= MAX_BITS
                and exponent.denominator <= 64
                and base > 0
            )
            else None
        )
    if base in (0, 1, -1):
        if base == 0 and exponent < 0:
            raise ZeroDivisionError
        return base if exponent % 2 or (base == 0 and exponent) else Fraction(1)
    if abs(exponent) * _bits(base) > MAX_BITS:
        return None
    return Fraction(base ** int(exponent))


def _root(values: list[Fraction]) -> Fraction | None:
    """The root when it is rational, else None: irrational numbers are not exact here."""
    radicand, degree = values
    if degree.denominator != 1 or not 2 <= degree <= 64 or radicand < 0:
        return None
    top = _integer_root(radicand.numerator, int(degree))
    bottom = _integer_root(radicand.denominator, int(degree))
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(value: int, degree: int) -> int | None:
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= value:
            low = middle
        else:
            high = middle - 1
    return low if low**degree == value else None


def _factorial(values: list[Fraction]) -> Fraction | None:
    number = _countable(values[0])
    return None if number is None else Fraction(factorial(number))


def _factorial2(values: list[Fraction]) -> Fraction | None:
    number = _countable(values[0])
    return None if number is None else Fraction(prod(range(number, 1, -2)))


def _countable(value: Fraction) -> int | None:
    """The whole number whose factorial is worth computing, or None."""
    return int(value) if value.denominator == 1 and 0 <= value <= _MAX_FACTORIAL else None


def _binomial(values: list[Fraction]) -> Fraction | None:
    top, bottom = values
    if top.denominator != 1 or bottom.denominator != 1 or bottom < 0 or top < 0:
        return None
    if top > _MAX_FACTORIAL * 2:
        return None
    return Fraction(comb(int(top), int(bottom)))


def _whole_numbers(
    function: Callable[..., int],
) -> Callable[[list[Fraction]], Fraction | None]:
    def over(values: list[Fraction]) -> Fraction | None:
        if any(value.denominator != 1 for value in values):
            return None
        return Fraction(function(*(value.numerator for value in values)))

    return over


def _absolute(values: list[Fraction]) -> Fraction:
    return abs(values[0])


_OPERATIONS: dict[str, Callable[[list[Fraction]], Fraction | None]] = {
    "add": lambda values: sum(values, Fraction(0)),
    "neg": lambda values: -values[0],
    "mul": _product,
    "div": lambda values: values[0] / values[1],
    "pow": _power,
    "root": _root,
    "factorial": _factorial,
    "factorial2": _factorial2,
    "binom": _binomial,
    "abs": _absolute,
    "floor": lambda values: Fraction(values[0].__floor__()),
    "ceil": lambda values: Fraction(values[0].__ceil__()),
    "max": max,
    "min": min,
    "gcd": _whole_numbers(gcd),
    "lcm": _whole_numbers(lcm),
}
