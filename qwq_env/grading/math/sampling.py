"""Equality of two expressions, decided by their values at fixed points.

Two expressions are equal when they agree wherever the reference is defined: at a set of points
that depends on nothing but the names of the symbols, within what rounding explains at 50 digits,
and at the first point once more with digits enough for the smallest term to count. That is quicker
and surer than simplification: it does not depend on what a simplifier happens to try, and it
cannot run away. Points are rational and odd enough that two different final answers do not meet
there by chance.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import mpmath

from qwq_env.grading.math.evaluate import Evaluation, Known, Undefined, product, pseudo_random
from qwq_env.grading.math.exact import exact_value
from qwq_env.grading.math.magnitude import Magnitude, magnitude
from qwq_env.grading.math.tree import Call, Node, Number, TooComplex, symbols

__all__ = ["proportional", "same_value", "weigh"]

_DIGITS = 50
_DIGITS_SURE = 100
_MAX_DIGITS = 4_000
_MARGIN = 40  # bits by which the bound of the error may be too small
_CONSTANTS = frozenset(["pi", "e", "i", "infty"])
# (low, high, whole numbers only): where the free symbols are drawn from, one set of values each.
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
_FAILURES = (Undefined, ZeroDivisionError, ValueError, OverflowError)


def same_value(gold: Node, answer: Node) -> bool:
    """Whether `answer` has the value of `gold` wherever `gold` is defined.

    An answer with a symbol that the reference has not is another one, unless the symbol cancels
    and nothing in the answer is a zero: prose read as mathematics is a product of letters, and
    zero times anything is zero.

    Raises `Undefined` when `gold` has a value at too few of the points, `Unreadable` for functions
    that are not known here, and `TooComplex` when a value is too large to be computed.
    """
    try:
        exact_gold, exact_answer = exact_value(gold), exact_value(answer)
    except ZeroDivisionError:
        return False
    if exact_gold is not None and exact_answer is not None:
        return exact_gold == exact_answer
    names = symbols(gold) - _CONSTANTS
    if not symbols(answer) - _CONSTANTS <= names:
        if _has_zero(answer):
            return False
        names |= symbols(answer) - _CONSTANTS
    complex_values = not names or "i" in symbols(gold)
    agreed = 0
    for number in _numbers(gold, answer) if names else [0]:
        with mpmath.workdps(_DIGITS):
            evaluation = _evaluation(names, number)
            expected = _known(evaluation, gold, complex_values)
            if expected is None:
                continue
            if not _agree(evaluation, expected, answer):
                return False
        if agreed == 0 and not _agree_surely(gold, answer, names, number, evaluation.spread):
            return False
        agreed += 1
    if agreed < (_ENOUGH if names else 1):
        raise Undefined("the reference is defined at too few points")
    if not names and _is_rational(gold) and _is_rational(answer) and gold != answer:
        raise TooComplex("numbers that are too large to compare exactly")
    return True


def weigh(gold: Node) -> None:
    """Raise what `same_value` would raise for a reference, whatever the answer is."""
    if _is_rational(gold) and exact_value(gold) is None:
        raise TooComplex("a number that is too large to compare exactly")
    same_value(gold, gold)


def proportional(gold: Node, answer: Node, positive: bool = False) -> bool:
    """Whether `answer` is `gold` times a constant other than zero (a positive one if asked).

    This is how two equations, or two inequalities, with zero on the right say the same. Raises
    what `same_value` raises.
    """
    names = symbols(gold) - _CONSTANTS
    if not names or not symbols(answer) - _CONSTANTS <= names:
        return False
    first: _Pair | None = None
    agreed = 0
    for number in _numbers(gold, answer):
        pair = _pair(gold, answer, names, number, _DIGITS)
        if pair is None or pair.both_zero():
            continue
        if pair.answer is None or pair.one_zero():
            return False
        if first is None:
            first = pair
            if positive and not _is_positive(pair.answer.value / pair.gold.value):
                return False
            continue
        if not _same_ratio(first, pair, _DIGITS):
            return False
        if agreed == 0:
            digits = _enough_digits(max(first.spread, pair.spread))
            one = _pair(gold, answer, names, first.number, digits)
            other = _pair(gold, answer, names, number, digits)
            if one is None or other is None or not _same_ratio(one, other, digits):
                return False
        agreed += 1
    if agreed < _ENOUGH:
        raise Undefined("the reference is defined at too few points")
    return True


class _Pair(NamedTuple):
    """The values of both sides at one point; `answer` is None where it has none."""

    gold: Known
    answer: Known | None
    spread: float
    number: int

    def both_zero(self) -> bool:
        return _is_zero(self.gold) and self.answer is not None and _is_zero(self.answer)

    def one_zero(self) -> bool:
        return _is_zero(self.gold) or (self.answer is not None and _is_zero(self.answer))


def _pair(
    gold: Node, answer: Node, names: frozenset[str], number: int, digits: int
) -> _Pair | None:
    with mpmath.workdps(digits):
        evaluation = _evaluation(names, number)
        expected = _known(evaluation, gold, True)
        if expected is None:
            return None
        known = _known(evaluation, answer, True)
        return _Pair(expected, known, evaluation.spread, number)


def _same_ratio(one: _Pair, other: _Pair, digits: int) -> bool:
    if one.answer is None or other.answer is None:
        return False
    with mpmath.workdps(digits):
        left, right = product(one.gold, other.answer), product(other.gold, one.answer)
        return _is_noise(left.value - right.value, max(left.error, right.error))


def _is_positive(ratio: Any) -> bool:
    nearly_real = abs(mpmath.im(ratio)) < mpmath.mpf(10) ** -30 * abs(ratio)
    return bool(nearly_real and mpmath.re(ratio) > 0)


def _is_zero(known: Known) -> bool:
    return _is_noise(known.value, known.error)


def _numbers(gold: Node, answer: Node) -> list[int]:
    """Which points are tried: sums have a value for whole numbers only."""
    if _has_sum(gold) or _has_sum(answer):
        return [number for number, (_, _, whole) in enumerate(_RANGES) if whole]
    return list(range(len(_RANGES)))


def _has_sum(node: Node) -> bool:
    return isinstance(node, Call) and (
        node.name in ("sum", "prod") or any(map(_has_sum, node.arguments))
    )


def _has_zero(node: Node) -> bool:
    """Whether a zero is written anywhere in the tree."""
    if isinstance(node, Call):
        return any(map(_has_zero, node.arguments))
    return isinstance(node, Number) and node.value == 0


def _is_rational(node: Node) -> bool:
    """Whether the tree holds rational numbers and operations only, however large."""
    if isinstance(node, Call):
        return node.name in (
            "add", "neg", "mul", "div", "pow", "factorial", "factorial2", "binom"
        ) and all(_is_rational(argument) for argument in node.arguments)  # fmt: skip
    return isinstance(node, Number)


def _evaluation(names: frozenset[str], number: int) -> Evaluation:
    return Evaluation({name: _point(name, number) for name in names}, str(number))


def _point(name: str, number: int) -> Fraction:
    low, high, whole = _RANGES[number]
    where = low + (high - low) * pseudo_random(f"{name} {number}")
    return Fraction(int(where)) if whole else where


def _known(evaluation: Evaluation, node: Node, complex_values: bool) -> Known | None:
    """The value, or None where there is none (or it is not real)."""
    try:
        known = evaluation.known(node)
    except _FAILURES:
        return None
    if not mpmath.isfinite(known.value):
        return None
    if not complex_values and not _is_noise(mpmath.im(known.value), known.error):
        return None
    return known


def _is_noise(value: Any, error: float) -> bool:
    return bool(value == 0 or mpmath.mag(value) <= error + _MARGIN)


def _is_out_of_reach(expected: Known, answer: Node) -> bool:
    """Whether a number too large, or too small, to be computed is proved not to be this value."""
    try:
        bound = magnitude(answer)
    except ZeroDivisionError:
        return False
    if not isinstance(bound, Magnitude):
        return False
    size = float(mpmath.mag(expected.value))
    if bound.tiny:
        return size > expected.error + _MARGIN and size - _MARGIN > -bound.bits
    return max(size, expected.error) + _MARGIN < bound.bits


def _agree(evaluation: Evaluation, expected: Known, answer: Node) -> bool:
    if _is_out_of_reach(expected, answer):
        return False
    known = _known(evaluation, answer, True)
    if known is None:
        return False
    return _is_noise(known.value - expected.value, max(known.error, expected.error))


def _agree_surely(
    gold: Node, answer: Node, names: frozenset[str], number: int, spread: float
) -> bool:
    with mpmath.workdps(_enough_digits(spread)):
        evaluation = _evaluation(names, number)
        expected = _known(evaluation, gold, True)
        return expected is not None and _agree(evaluation, expected, answer)


def _enough_digits(spread: float) -> int:
    digits = _DIGITS_SURE + int(spread * 0.302)
    if digits > _MAX_DIGITS:
        raise TooComplex("terms of sizes too different to be told apart")
    return digits
