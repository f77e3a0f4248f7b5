"""Equality of two expressions, decided by their values at fixed points.

Two expressions are equal when they agree wherever the reference is defined: at a set of points
that depends on nothing but the names of the symbols, to 35 digits, confirmed once to 100. That is
quicker and surer than simplification: it does not depend on what a simplifier happens to try, it
cannot run away, and 1/2^99 is not 1/2^98. Points are rational and odd enough that two different
final answers do not meet there by chance.

Real roots are taken where they exist, as in school: the cube root of -8 is -2.
"""

import hashlib
from fractions import Fraction
from typing import Any

import mpmath

from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.expression import (
    Call,
    Node,
    Number,
    Symbol,
    TooComplex,
    Unreadable,
    symbols,
)

__all__ = ["Undefined", "proportional", "same_value"]

_DIGITS, _AGREE = 50, 35
_DIGITS_SURE, _AGREE_SURE = 130, 100
_MAX_MAGNITUDE = 4_000  # bits of an argument of sin, floor, ...
_MAX_EXPONENT = 200  # bits of y * log2(x) in x^y
_CONSTANTS = frozenset(["pi", "e", "i"])
# (low, high, integers only): where the free symbols are drawn from, one set of values each.
_RANGES = (
    (Fraction(1, 5), Fraction(1), False),
    (Fraction(1), Fraction(4), False),
    (Fraction(-3), Fraction(3), False),
    (Fraction(-1), Fraction(1), False),
    (Fraction(5), Fraction(60), False),
    (Fraction(-40), Fraction(-2), False),
    (Fraction(2), Fraction(14), True),
    (Fraction(5), Fraction(25), True),
    (Fraction(11), Fraction(40), True),
)
_ENOUGH = 3
_MAX_STEPS = 200_000
_ODD = range(3, 1_000, 2)


class Undefined(Exception):
    """The expression has no value at this point, or none at enough points to tell."""


def same_value(gold: Node, answer: Node) -> bool:
    """Whether `answer` has the value of `gold` wherever `gold` is defined.

    Raises `Undefined` when `gold` has a value at too few of the points, `Unreadable` for functions
    that are not known here, and `TooComplex` when a value is too large to be computed.
    """
    try:
        exact_gold, exact_answer = exact_value(gold), exact_value(answer)
    except ZeroDivisionError:
        return False
    if exact_gold is not None and exact_answer is not None:
        return exact_gold == exact_answer
    names = (symbols(gold) | symbols(answer)) - _CONSTANTS
    complex_values = not names or "i" in symbols(gold)
    agreed = 0
    for number in range(len(_RANGES) if names else 1):
        with mpmath.workdps(_DIGITS):
            evaluation = _Evaluation(names, number)
            expected = _defined(evaluation, gold, complex_values)
            if expected is None:
                continue
            if not _close(evaluation, expected, answer, _AGREE):
                return False
        if agreed == 0:
            with mpmath.workdps(_DIGITS_SURE):
                evaluation = _Evaluation(names, number)
                if not _close(evaluation, evaluation.value(gold), answer, _AGREE_SURE):
                    return False
        agreed += 1
    if agreed < (_ENOUGH if names else 1):
        raise Undefined("the reference is defined at too few points")
    if not names and _is_rational(gold) and _is_rational(answer) and gold != answer:
        raise TooComplex("numbers that are too large to compare exactly")
    return True


def proportional(gold: Node, answer: Node, positive: bool = False) -> bool:
    """Whether `answer` is `gold` times a constant other than zero (a positive one if asked).

    This is how two equations, or two inequalities, with zero on the right say the same.
    """
    names = (symbols(gold) | symbols(answer)) - _CONSTANTS
    if not names:
        return False
    with mpmath.workdps(_DIGITS):
        ratio: Any = None
        agreed = 0
        for number in range(len(_RANGES)):
            evaluation = _Evaluation(names, number)
            expected = _defined(evaluation, gold, True)
            if expected is None or expected == 0:
                continue
            value = _defined(evaluation, answer, True)
            if value is None or value == 0:
                return False
            if ratio is None:
                ratio = value / expected
            elif abs(value / expected - ratio) > mpmath.mpf(10) ** -_AGREE * abs(ratio):
                return False
            agreed += 1
        if agreed < _ENOUGH:
            raise Undefined("the reference is defined at too few points")
        return not positive or (abs(mpmath.im(ratio)) == 0 and mpmath.re(ratio) > 0)


def _is_rational(node: Node) -> bool:
    """Whether the tree holds rational numbers and operations only, however large."""
    if isinstance(node, Call):
        return node.name in (
            "add", "neg", "mul", "div", "pow", "factorial", "factorial2", "binom"
        ) and all(_is_rational(argument) for argument in node.arguments)  # fmt: skip
    return isinstance(node, Number)


def _defined(evaluation: "_Evaluation", node: Node, complex_values: bool) -> Any:
    """The value, or None where there is none (or it is not real)."""
    try:
        value = evaluation.value(node)
    except (Undefined, ZeroDivisionError, ValueError, OverflowError):
        return None
    if not mpmath.isfinite(value):
        return None
    if not complex_values and abs(mpmath.im(value)) > mpmath.mpf(10) ** -_AGREE * abs(value):
        return None
    return value


def _close(evaluation: "_Evaluation", expected: Any, answer: Node, digits: int) -> bool:
    value = _defined(evaluation, answer, True)
    if value is None:
        return False
    scale = max(abs(expected), abs(value), evaluation.scale)
    return bool(abs(value - expected) <= mpmath.mpf(10) ** -digits * scale)


def _point(name: str, number: int) -> Fraction:
    low, high, whole = _RANGES[number]
    digest = hashlib.sha256(f"{name} {number}".encode()).digest()
    if whole:
        return Fraction(int(low) + int.from_bytes(digest[:4], "big") % int(high - low + 1))
    return low + (high - low) * Fraction(int.from_bytes(digest[:6], "big") | 1, 1 << 48)


class _Evaluation:
    """Values of trees at one point; `scale` is the largest term that was added on the way."""

    def __init__(self, names: frozenset[str], number: int) -> None:
        self.scale: Any = mpmath.mpf(0)
        self.steps = 0
        self.number = number
        self.points = {name: _rational(_point(name, number)) for name in names}

    def value(self, node: Node) -> Any:
        if isinstance(node, Number):
            return _rational(node.value)
        if isinstance(node, Symbol):
            return self.symbol(node.name)
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise TooComplex("too many operations")
        if node.name in ("pow", "root"):
            return self.power(node)
        if node.name in ("sum", "prod"):
            return self.accumulate(node)
        values = [self.value(argument) for argument in node.arguments]
        if node.name == "add":
            self.scale = max(self.scale, *(abs(value) for value in values))
            return mpmath.fsum(values)
        if node.name.startswith("opaque:"):
            return self.opaque(node.name, values)
        function = _FUNCTIONS.get(node.name)
        if function is None:
            raise Unreadable(f"no value for {node.name}")
        if node.name in _BOUNDED and any(_magnitude(v) > _BOUNDED[node.name] for v in values):
            raise TooComplex(f"{node.name} of a number that is too large")
        return function(*values)

    def symbol(self, name: str) -> Any:
        if name == "pi":
            return +mpmath.pi
        if name == "e":
            return +mpmath.e
        if name == "i":
            return mpmath.mpc(0, 1)
        if name in self.points:
            return self.points[name]
        raise Unreadable(f"no value for {name}")

    def opaque(self, name: str, values: list[Any]) -> Any:
        """A function that nobody defined: some value that depends on its arguments alone."""
        key = name + "".join(" " + mpmath.nstr(value, 25) for value in values)
        return _rational(_point(key, self.number))

    def accumulate(self, node: Call) -> Any:
        """A sum or a product over whole numbers; it has no value between other bounds."""
        index, low_node, high_node, body = node.arguments
        assert isinstance(index, Symbol)
        low, high = _whole(self.value(low_node)), _whole(self.value(high_node))
        total = mpmath.mpf(0 if node.name == "sum" else 1)
        hidden = self.points.get(index.name)
        for number in range(low, high + 1):
            self.points[index.name] = mpmath.mpf(number)
            term = self.value(body)
            self.scale = max(self.scale, abs(term))
            total = total + term if node.name == "sum" else total * term
        self.points.pop(index.name, None)
        if hidden is not None:
            self.points[index.name] = hidden
        return total

    def power(self, node: Call) -> Any:
        base_node, exponent_node = node.arguments
        exponent = exact_value(exponent_node)
        if node.name == "root" and exponent is not None:
            if exponent == 0:
                raise Undefined
            exponent = 1 / exponent
        base = self.value(base_node)
        if exponent is None:
            power = self.value(exponent_node)
            if node.name == "root":
                power = 1 / power
        else:
            power = _rational(exponent)
        if base == 0:
            if mpmath.re(power) <= 0:
                raise Undefined
            return mpmath.mpf(0)
        if _magnitude(power) + _magnitude(mpmath.log(abs(base))) > _MAX_EXPONENT:
            raise TooComplex("a power that is too large")
        negative = mpmath.im(base) == 0 and mpmath.re(base) < 0
        if negative and exponent is not None and exponent.denominator in _ODD:
            root = mpmath.power(-mpmath.re(base), power)
            return root if exponent.numerator % 2 == 0 else -root
        if exponent is not None and exponent.denominator == 1 and abs(exponent) < 1 << 30:
            return base ** int(exponent)
        return mpmath.power(base, power)


def _rational(value: Fraction) -> Any:
    return mpmath.mpf(value.numerator) / value.denominator


def _magnitude(value: Any) -> float:
    return float(mpmath.mag(value)) if value and mpmath.isfinite(value) else 0.0


def _whole(value: Any) -> int:
    if mpmath.im(value) != 0 or not mpmath.isint(value):
        raise Undefined
    if abs(value) > _MAX_STEPS:
        raise TooComplex("too many terms")
    return int(value)


def _real(value: Any) -> Any:
    if mpmath.im(value) != 0:
        raise Undefined
    return mpmath.re(value)


def _divide(top: Any, bottom: Any) -> Any:
    if bottom == 0:
        raise ZeroDivisionError
    return top / bottom


def _logarithm(value: Any, base: Any = None) -> Any:
    if value == 0 or (base is not None and base in (0, 1)):
        raise Undefined
    return mpmath.log(value) if base is None else mpmath.log(value) / mpmath.log(base)


_FUNCTIONS: dict[str, Any] = {
    "neg": lambda value: -value,
    "mul": lambda left, right: left * right,
    "div": _divide,
    "abs": abs,
    "degrees": lambda value: value * mpmath.pi / 180,
    "factorial": mpmath.factorial,
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
    "log10": lambda value: _logarithm(value, mpmath.mpf(10)),
    "logbase": _logarithm,
}
_BOUNDED = dict.fromkeys(
    ["sin", "cos", "tan", "cot", "sec", "csc", "floor", "ceil"], _MAX_MAGNITUDE
) | dict.fromkeys(["exp", "sinh", "cosh", "tanh", "factorial", "factorial2", "binom"], 100)
