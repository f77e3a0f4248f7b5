"""The value of a tree at one point, and how many of its bits can be trusted.

Every value carries the size of its absolute error, so that a difference of two values is either
larger than what rounding can explain, or not: sin(pi) is 0, 1/2^99 is not, and pi + 10^-60 is not
pi. `spread` adds the other half: how many bits a computation needs for its smallest term to count
beside its largest. Everything is bounded; what would take too long raises `TooComplex`.

Real roots are taken where they exist, as in school: the cube root of -8 is -2.
"""

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import isfinite
from typing import Any, NamedTuple

import mpmath

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.tree import Call, Node, Number, Symbol, TooComplex, Unreadable

__all__ = ["Evaluation", "Known", "Undefined", "product", "pseudo_random"]

MAX_STEPS = 100_000
_MAX_MAGNITUDE = 4_000  # bits of an argument of sin, floor, ...
_MAX_EXPONENT = 200  # bits of y * log2(x) in x^y
_ODD = range(3, 1_000, 2)
_NOTHING = -(10.0**9)  # the magnitude of zero


class Undefined(Exception):
    """The expression has no value at this point, or none at enough points to tell."""


class Known(NamedTuple):
    """A number (mpf or mpc) and log2 of the error that it may have."""

    value: Any
    error: float


def pseudo_random(name: str) -> Fraction:
    """A fraction in (0, 1) that depends on the name alone, the same on every machine."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return Fraction(int.from_bytes(digest[:6], "big") | 1, 1 << 48)


class Evaluation:
    """Values at one point, at the working precision of mpmath. One object for one point."""

    def __init__(self, points: Mapping[str, Fraction], salt: str) -> None:
        self.spread = 0.0
        self.salt = salt
        self.steps = 0
        self.points = {name: _rational(value) for name, value in points.items()}

    def known(self, node: Node) -> Known:
        """The value of a tree. Raises `Undefined`, `Unreadable`, `TooComplex`, or what mpmath and
        Python raise for a division by zero or an argument out of range."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooComplex("too many operations")
        if isinstance(node, Number):
            bits = node.value.numerator.bit_length() + node.value.denominator.bit_length()
            self.spread = max(self.spread, float(bits))
            return _rounded(_rational(node.value))
        if isinstance(node, Symbol):
            return _rounded(self._symbol(node.name))
        if node.name in ("pow", "root"):
            return self._power(node)
        if node.name in ("sum", "prod"):
            return self._accumulated(node)
        parts = [self.known(argument) for argument in node.arguments]
        if node.name == "add":
            return self._sum(parts)
        if node.name.startswith("opaque:"):
            key = node.name + "".join(" " + mpmath.nstr(part.value, 25) for part in parts)
            return _rounded(_rational(pseudo_random(key + self.salt)))
        if node.name in _ARITHMETIC:
            return _at_least_rounded(_ARITHMETIC[node.name](*parts))
        return self._function(node.name, parts)

    def _symbol(self, name: str) -> Any:
        if name == "pi":
            return +mpmath.pi
        if name == "e":
            return +mpmath.e
        if name == "i":
            return mpmath.mpc(0, 1)
        if name in self.points:
            return self.points[name]
        raise Unreadable(f"no value for {name}")

    def _sum(self, parts: list[Known]) -> Known:
        sizes = [_magnitude(part.value) for part in parts if part.value]
        if sizes:
            self.spread = max(self.spread, max(sizes) - min(sizes))
        total = mpmath.fsum(part.value for part in parts)
        rounding = max(sizes, default=_NOTHING) - mpmath.mp.prec
        return Known(total, max(rounding, *(part.error for part in parts)) + 1)

    def _accumulated(self, node: Call) -> Known:
        """A sum or a product over whole numbers; it has no value between other bounds."""
        index, low_node, high_node, body = node.arguments
        assert isinstance(index, Symbol)
        low, high = _whole(self.known(low_node).value), _whole(self.known(high_node).value)
        total = _rounded(mpmath.mpf(0 if node.name == "sum" else 1))
        hidden = self.points.get(index.name)
        for number in range(low, high + 1):
            self.points[index.name] = mpmath.mpf(number)
            term = self.known(body)
            total = self._sum([total, term]) if node.name == "sum" else product(total, term)
        self.points.pop(index.name, None)
        if hidden is not None:
            self.points[index.name] = hidden
        return total

    def _power(self, node: Call) -> Known:
        base_node, exponent_node = node.arguments
        exact = exact_value(exponent_node)
        exponent = self.known(exponent_node) if exact is None else _rounded(_rational(exact))
        if node.name == "root":
            exponent = _quotient(_rounded(mpmath.mpf(1)), exponent)
            exact = 1 / exact if exact else None
        base = self.known(base_node)
        self._stretch(exponent.value)
        if base.value == 0 or _magnitude(base.value) < base.error - 2:
            # Zero, or no more than rounding: 0^y is 0 for a positive y only.
            if mpmath.re(exponent.value) <= 0:
                raise Undefined
            if base.value == 0:
                return Known(mpmath.mpf(0), base.error * min(1.0, float(mpmath.re(exponent.value))))
        size = _magnitude(mpmath.log(abs(base.value))) if base.value else 0.0
        if _magnitude(exponent.value) + size > _MAX_EXPONENT:
            raise TooComplex("a power that is too large")
        value = _raised(base.value, exponent.value, exact)
        relative = max(
            base.error - _magnitude(base.value) + _magnitude(exponent.value),
            exponent.error + size,
        )
        return _at_least_rounded(Known(value, relative + _magnitude(value) + 1))

    def _function(self, name: str, parts: list[Known]) -> Known:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise Unreadable(f"no value for {name}")
        values = [part.value for part in parts]
        if name in _BOUNDED and any(_magnitude(value) > _BOUNDED[name] for value in values):
            raise TooComplex(f"{name} of a number that is too large")
        self._stretch(*values)
        if name == "tanh":  # as near to 1 as e^-2x is to 0
            self.spread = max(self.spread, 3 * float(abs(values[0])))
        value = function(*values)
        error = max(part.error for part in parts)
        steep = _magnitude(value)
        if name in _STEEP:
            error += 2 * max(steep, 0.0) + max(_magnitude(values[0]), 0.0) + 2
        elif name in ("exp", "sinh", "cosh"):
            error += steep + 1
        elif name in _FACTORIAL:
            error += steep + max(map(_magnitude, [*values, 1])) + 4
        elif name in ("arcsin", "arccos") and abs(abs(values[0]) - 1) < 0.1:
            error = error / 2 + 2  # a square root at the end of the range
        elif name in ("ln", "log", "log10"):
            error += 2 - _magnitude(values[0])
        elif name in ("floor", "ceil"):
            error = _NOTHING
        return _at_least_rounded(Known(value, error))

    def _stretch(self, *values: Any) -> None:
        """Account for functions that are nearly flat at very small and very large arguments."""
        for value in values:
            self.spread = max(self.spread, 2 * abs(_magnitude(value)) if value else 0.0)


def _rational(value: Fraction) -> Any:
    return mpmath.mpf(value.numerator) / value.denominator


def _magnitude(value: Any) -> float:
    size = float(mpmath.mag(value))
    return size if isfinite(size) else _NOTHING


def _rounded(value: Any) -> Known:
    return Known(value, _magnitude(value) - mpmath.mp.prec)


def _at_least_rounded(known: Known) -> Known:
    return Known(known.value, max(known.error, _magnitude(known.value) - mpmath.mp.prec))


def product(left: Known, right: Known) -> Known:
    """The product, with the error that it may have."""
    error = max(
        left.error + _magnitude(right.value),
        right.error + _magnitude(left.value),
        left.error + right.error,
    )
    return Known(left.value * right.value, error + 1)


def _quotient(top: Known, bottom: Known) -> Known:
    if mpmath.isinf(bottom.value) and mpmath.isfinite(top.value):
        return Known(mpmath.mpf(0), _NOTHING)  # 1/(-1)! is 0, as in a binomial outside its triangle
    size = _magnitude(bottom.value)
    if bottom.value == 0 or size < bottom.error - 2:
        raise ZeroDivisionError
    error = max(top.error, bottom.error + _magnitude(top.value) - size) - size
    return Known(top.value / bottom.value, error + 1)


def _logarithm(value: Any) -> Any:
    if value == 0:
        raise Undefined
    return mpmath.log(value)


def _logarithm_to(argument: Known, base: Known) -> Known:
    logarithms = [
        Known(_logarithm(part.value), part.error - _magnitude(part.value) + 2)
        for part in (argument, base)
    ]
    return _quotient(*map(_at_least_rounded, logarithms))


def _raised(base: Any, exponent: Any, exact: Fraction | None) -> Any:
    negative = mpmath.im(base) == 0 and mpmath.re(base) < 0
    if negative and exact is not None and exact.denominator in _ODD:
        root = mpmath.power(-mpmath.re(base), exponent)
        return root if exact.numerator % 2 == 0 else -root
    if exact is not None and exact.denominator == 1 and abs(exact) < 1 << 30:
        return base ** int(exact)
    return mpmath.power(base, exponent)


def _whole(value: Any) -> int:
    if mpmath.im(value) != 0 or not mpmath.isint(value):
        raise Undefined
    if abs(value) > MAX_STEPS:
        raise TooComplex("too many terms")
    return int(value)


def _factorial(value: Any) -> Any:
    """The factorial, continued by the gamma function; infinite at the negative whole numbers."""
    if mpmath.im(value) == 0 and value < 0 and mpmath.isint(value):
        return mpmath.inf
    return mpmath.factorial(value)


def _real(value: Any) -> Any:
    if mpmath.im(value) != 0:
        raise Undefined
    return mpmath.re(value)


_ARITHMETIC: dict[str, Callable[..., Known]] = {
    "neg": lambda part: Known(-part.value, part.error),
    "abs": lambda part: Known(abs(part.value), part.error),
    "degrees": lambda part: Known(part.value * mpmath.pi / 180, part.error),
    "mul": product,
    "div": _quotient,
    "logbase": _logarithm_to,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "factorial": _factorial,
    "factorial2": mpmath.fac2,
    "binom": mpmath.binomial,
    "floor": lambda value: mpmath.floor(_real(value)),
    "ceil": lambda value: mpmath.ceil(_real(value)),
    "max": lambda *values: max(_real(value) for value in values),
    "min": lambda *values: min(_real(value) for value in values),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "cot": mpmath.cot,
    "sec": mpmath.sec,
    "csc": mpmath.csc,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "arccot": lambda value: mpmath.pi / 2 - mpmath.atan(value),
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "exp": mpmath.exp,
    "ln": _logarithm,
    "log": _logarithm,
    "log10": lambda value: _logarithm(value) / mpmath.log(10),
}
_STEEP = frozenset(["tan", "cot", "sec", "csc"])
_FACTORIAL = frozenset(["factorial", "factorial2", "binom"])
_BOUNDED = dict.fromkeys(
    ["sin", "cos", "tan", "cot", "sec", "csc", "floor", "ceil"], _MAX_MAGNITUDE
) | dict.fromkeys(["exp", "sinh", "cosh", "tanh", "factorial", "factorial2", "binom"], 100)
