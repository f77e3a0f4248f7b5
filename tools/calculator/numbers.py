"""Bounded arithmetic: exact on integers and fractions, floats where there is no exact value.

Every operation checks the size of its result before it computes, so that none takes longer
than about a millisecond. A value is an `int`, a `Fraction` (never whole), or a `float`, which
marks it as an approximation. What cannot be computed raises `ToolError` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from qwq_env.errors import ToolError

Value = int | Fraction | float
Exact = int | Fraction

MAX_BITS = 10_000
MAX_SLOW_BITS = 4_000
MAX_MODULAR_BITS = 1_000
MAX_FACTORIAL = 1_000
_TOO_LARGE = (
    "the result is too large: more than 3,000 digits. Reduce it first, for example with "
    "logarithms, or with pow(a, b, m) for the remainder of a power"
)


def settled(value: Value) -> Value:
    """Return `value` in its simplest type; raise if it is too large or not a number."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError("the result is too large to approximate, or not a number")
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise ToolError(_TOO_LARGE)
        return value
    if value.denominator == 1:
        return settled(value.numerator)
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_SLOW_BITS:
        raise ToolError("the exact fraction has more than 1,000 digits; round it on the way")
    return value


def binary(operator: str, left: Value, right: Value) -> Value:
    """Compute `left operator right`, the operator one of `+ - * / // % **`."""
    try:
        return settled(_OPERATORS[operator](left, right))
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except OverflowError:
        raise ToolError("the numbers are too large to approximate") from None


def call(name: str, arguments: tuple[Value, ...]) -> Value:
    """Compute a function of `FUNCTIONS`."""
    function = FUNCTIONS[name]
    if not function.least <= len(arguments) <= function.most:
        raise ToolError(f"{name} takes {function.usage}; it was given {len(arguments)} arguments")
    try:
        return settled(function.compute(*arguments))
    except ZeroDivisionError:
        raise ToolError(f"{name}: division by zero") from None
    except OverflowError:
        raise ToolError(f"{name}: the number is too large to approximate") from None


def modular_power(base: int, exponent: int, modulus: int) -> int:
    """Return `base ** exponent % modulus` without building the power."""
    if modulus == 0:
        raise ToolError("division by zero")
    if max(exponent.bit_length(), modulus.bit_length()) > MAX_MODULAR_BITS:
        raise ToolError("pow(a, b, m): b and m may have at most 300 digits")
    try:
        return pow(base % modulus, exponent, modulus)
    except ValueError:
        raise ToolError(f"pow: {base} has no inverse modulo {modulus}") from None


def _divide(left: Value, right: Value) -> Value:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    return Fraction(left) / right


def _floor_divide(left: Value, right: Value) -> Value:
    return _floor(_divide(left, right))


def _remainder(left: Value, right: Value) -> Value:
    return left - right * _floor_divide(left, right)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, int) and not isinstance(base, float):
        return _whole_power(base, exponent)
    if base == 0 and exponent < 0:
        raise ToolError("division by zero: 0 to a negative power")
    if base < 0 and not (isinstance(exponent, int)):
        raise ToolError("a negative number to a fractional power is not real")
    if isinstance(exponent, Fraction) and not isinstance(base, float):
        root = exact_root(base, exponent.denominator)
        if root is not None:
            return _whole_power(root, exponent.numerator)
    return math.pow(base, exponent)


def _whole_power(base: Exact, exponent: int) -> Exact:
    top, bottom = base.numerator, base.denominator
    if exponent < 0 and top == 0:
        raise ToolError("division by zero: 0 to a negative power")
    # log2 of the larger part, rounded down: 0 only for 0, 1 and -1.
    size = max(top.bit_length(), bottom.bit_length()) - 1
    if size * abs(exponent) > MAX_BITS:
        raise ToolError(_TOO_LARGE)
    if size <= 0:
        return base if exponent % 2 else base * base if exponent else 1
    return Fraction(base) ** exponent


def exact_root(value: Exact, degree: int) -> Exact | None:
    """Return the real `degree`-th root of `value` if it is rational, None if not."""
    if degree > 100 or (value < 0 and degree % 2 == 0):
        return None
    top = _integer_root(abs(value.numerator), degree)
    bottom = _integer_root(value.denominator, degree)
    if top is None or bottom is None:
        return None
    return Fraction(top if value >= 0 else -top, bottom)


def _integer_root(number: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(number)
    elif number < 2:
        return number
    else:
        # Newton's method from above falls until it reaches the floor of the root.
        root = 1 << -(-number.bit_length() // degree)
        while (lower := ((degree - 1) * root + number // root ** (degree - 1)) // degree) < root:
            root = lower
    return root if root**degree == number else None


def _floor(value: Value) -> int:
    if isinstance(value, float) and abs(value - round(value)) < 1e-9 * max(1.0, abs(value)):
        raise ToolError(
            f"{value:.12g} is only an approximation and too near a whole number to round down or up"
        )
    return math.floor(value)


def _ceiling(value: Value) -> int:
    return -_floor(-value)


def _round(value: Value, digits: Value = 0) -> Value:
    places = _whole("round", digits)
    if abs(places) > 100:
        raise ToolError("round(x, digits): digits from -100 to 100")
    return round(value, places) if isinstance(value, float) else round(Fraction(value), places)


def _truncate(value: Value) -> int:
    return _floor(value) if value >= 0 else _ceiling(value)


def _whole(name: str, value: Value) -> int:
    if isinstance(value, int):
        return value
    raise ToolError(f"{name} needs whole numbers; one is {show_briefly(value)}")


def show_briefly(value: Value) -> str:
    """Return `value` in at most about 40 characters, for messages."""
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:30]}..."


def _factorial(value: Value) -> int:
    number = _whole("factorial", value)
    if not 0 <= number <= MAX_FACTORIAL:
        raise ToolError(f"factorial(n): n from 0 to {MAX_FACTORIAL}")
    return math.factorial(number)


def _count_arguments(name: str, total: Value, chosen: Value) -> tuple[int, int]:
    pair = _whole(name, total), _whole(name, chosen)
    if min(pair) < 0:
        raise ToolError(f"{name}(n, k) needs n and k of at least 0")
    return pair


def _combinations(total: Value, chosen: Value) -> int:
    n, k = _count_arguments("comb", total, chosen)
    k = min(k, n - k)
    if k < 0:
        return 0
    # (n/k)**k <= comb(n, k): what this refuses is beyond the bound for certain.
    if k > 0 and k * ((n // k).bit_length() - 1) > MAX_SLOW_BITS:
        raise ToolError("comb: the result has more than 1,000 digits; reduce it first")
    return math.comb(n, k)


def _permutations(total: Value, chosen: Value) -> int:
    n, k = _count_arguments("perm", total, chosen)
    if k > n:
        return 0
    # perm(n, k) >= k!, and >= (n-k+1)**k.
    if k > 2 * MAX_FACTORIAL or k * ((n - k + 1).bit_length() - 1) > MAX_BITS:
        raise ToolError(_TOO_LARGE)
    return math.perm(n, k)


def _pow(base: Value, exponent: Value, modulus: Value | None = None) -> Value:
    if modulus is None:
        return _power(base, exponent)
    return modular_power(_whole("pow", base), _whole("pow", exponent), _whole("pow", modulus))


def _greatest_common_divisor(*values: Value) -> int:
    return math.gcd(*(_whole("gcd", value) for value in values))


def _least_common_multiple(*values: Value) -> int:
    result = 1
    for value in values:
        result = math.lcm(result, _whole("lcm", value))
        settled(result)
    return result


def _least(*values: Value) -> Value:
    return min(values)


def _greatest(*values: Value) -> Value:
    return max(values)


def _sum(*values: Value) -> Value:
    result: Value = 0
    for value in values:
        result = binary("+", result, value)
    return result


def _square_root(value: Value) -> Value:
    if value < 0:
        raise ToolError("the square root of a negative number is not real")
    root = None if isinstance(value, float) else exact_root(value, 2)
    return math.sqrt(value) if root is None else root


def _cube_root(value: Value) -> Value:
    root = None if isinstance(value, float) else exact_root(value, 3)
    return math.cbrt(value) if root is None else root


def _natural_logarithm(value: Value) -> Value:
    if value <= 0:
        raise ToolError("the logarithm needs a number above 0")
    if value == 1:
        return 0
    if Fraction(1, 2) < value < 2:
        # x - 1 is exact, log(x) of a rounded x is not.
        return math.log1p(value - 1)
    if isinstance(value, Fraction):
        return math.log(value.numerator) - math.log(value.denominator)
    return math.log(value)


def _logarithm(value: Value, base: Value | None = None) -> Value:
    if base is None:
        return _natural_logarithm(value)
    if base <= 0 or base == 1:
        raise ToolError("log(x, base) needs a base above 0 other than 1")
    quotient = float(_natural_logarithm(value)) / float(_natural_logarithm(base))
    nearest = round(quotient)
    if isinstance(value, float) or isinstance(base, float) or abs(quotient - nearest) > 1e-6:
        return quotient
    try:
        return nearest if _whole_power(base, nearest) == value else quotient
    except ToolError:
        return quotient  # the power is beyond the bound, so it is not `value`


def _angle(value: Value) -> float:
    if not -1e9 <= value <= 1e9:
        raise ToolError("angles beyond 1e9 radians lose their precision; reduce them first")
    return float(value)


def _circular(function: Callable[[float], float]) -> Callable[..., Value]:
    def compute(value: Value) -> Value:
        if value == 0:
            return int(function(0.0))
        result = function(_angle(value))
        if abs(result) > 1e15:
            raise ToolError("the tangent is not defined there")
        # sin(pi) is 1.2e-16 only because pi is rounded.
        return 0.0 if abs(result) < 1e-15 and not -1e-9 < value < 1e-9 else result

    return compute


def _inverse(function: Callable[[float], float]) -> Callable[..., Value]:
    def compute(value: Value) -> Value:
        try:
            return function(float(value))
        except ValueError:
            raise ToolError("asin and acos need a number from -1 to 1") from None

    return compute


def _exponential(value: Value) -> Value:
    return 1 if value == 0 else math.exp(value)


class Function(NamedTuple):
    """A function the calculator knows: how it computes, and how many arguments it takes."""

    compute: Callable[..., Value]
    usage: str
    least: int = 1
    most: int = 1


_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divide,
    "//": _floor_divide,
    "%": _remainder,
    "**": _power,
}
CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS: dict[str, Function] = {
    "abs": Function(abs, "(x)"),
    "min": Function(_least, "(x, y, ...)", 1, 100),
    "max": Function(_greatest, "(x, y, ...)", 1, 100),
    "sum": Function(_sum, "(x, y, ...)", 1, 100),
    "round": Function(_round, "(x) or (x, digits)", 1, 2),
    "floor": Function(_floor, "(x)"),
    "ceil": Function(_ceiling, "(x)"),
    "trunc": Function(_truncate, "(x)"),
    "int": Function(_truncate, "(x)"),
    "mod": Function(_remainder, "(a, b)", 2, 2),
    "gcd": Function(_greatest_common_divisor, "(a, b, ...)", 1, 100),
    "lcm": Function(_least_common_multiple, "(a, b, ...)", 1, 100),
    "factorial": Function(_factorial, "(n)"),
    "comb": Function(_combinations, "(n, k)", 2, 2),
    "binomial": Function(_combinations, "(n, k)", 2, 2),
    "perm": Function(_permutations, "(n, k)", 2, 2),
    "pow": Function(_pow, "(a, b) or (a, b, m)", 2, 3),
    "sqrt": Function(_square_root, "(x)"),
    "cbrt": Function(_cube_root, "(x)"),
    "exp": Function(_exponential, "(x)"),
    "log": Function(_logarithm, "(x) or (x, base)", 1, 2),
    "ln": Function(_natural_logarithm, "(x)"),
    "log10": Function(lambda value: _logarithm(value, 10), "(x)"),
    "log2": Function(lambda value: _logarithm(value, 2), "(x)"),
    "sin": Function(_circular(math.sin), "(x)"),
    "cos": Function(_circular(math.cos), "(x)"),
    "tan": Function(_circular(math.tan), "(x)"),
    "asin": Function(_inverse(math.asin), "(x)"),
    "acos": Function(_inverse(math.acos), "(x)"),
    "atan": Function(_inverse(math.atan), "(x)"),
    "degrees": Function(lambda value: float(value) * 180 / math.pi, "(x)"),
    "radians": Function(lambda value: float(value) * math.pi / 180, "(x)"),
}
