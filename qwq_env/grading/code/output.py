"""What a program printed against what it should have: words, lines and numbers.

There are two rules. `tolerance` is for rewards: a right program is not punished for the last
digits of a float. `livecodebench` is the comparison of LiveCodeBench's own judge, for figures
that are held against published ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Literal, get_args

NumberRule = Literal["tolerance", "livecodebench"]
"""How printed numbers are compared; see `same_output`."""

NUMBER_RULES: tuple[str, ...] = get_args(NumberRule)

_RELATIVE = Decimal("1e-6")
_NEAR_ZERO = Decimal("1e-9")
# An expected word that shows so many decimals was rounded there, and may be met by rounding.
_DECIMALS = 6
# Digits beyond these change nothing that a tolerance sees; exponents without bound cost nothing.
_CONTEXT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
# A longer word is compared as text: no float is printed so, and to read it would take a while.
_LONGEST_NUMBER = 100_000
# Numbers as a program prints them: ASCII digits, no underscores, no zeros in front.
_FLOAT = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*+)\.([0-9]*+)|\.([0-9]++)|(?:0|[1-9][0-9]*+)(?=[eE]))"
    r"(?:[eE][+-]?[0-9]{1,9})?+"
)
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*+)")


def same_output(printed: str, expected: str, rule: NumberRule = "tolerance") -> bool:
    """Say whether a program printed what it should; linear in both texts.

    Under both rules lines are compared one by one. White space at the ends of lines and empty
    lines at the end do not count, and within a line it separates words.

    `tolerance`: words are compared as text. Where the expected word is a number with a point or
    an exponent, the printed one may be any number within 1e-6 of it (relative to the larger; 1e-9
    absolute near zero), or one that is rounded to it, if it shows six decimals or more. Where the
    expected word is an integer, the printed one may also be the same number written with a point
    or an exponent (`5.0`, `1e3`); written as an integer it has to be the same text, so that
    `0010`, `+10`, `-0`, `1_0` and digits of other scripts are wrong for `10`.

    `livecodebench`: lines are equal as text without the blanks around them, or all words of both
    are what Python's `Decimal` reads and equal as such.
    """
    same = _same_line if rule == "tolerance" else _same_decimals
    # Blanks and empty lines at the end go here, so that counting says how many lines there are.
    left, right = printed.rstrip(), expected.rstrip()
    blanks = "\n" if rule == "tolerance" else None
    left, right = left.lstrip(blanks), right.lstrip(blanks)
    # Nothing is built of what a policy printed before it has as many parts as are expected.
    if left.count("\n") != right.count("\n"):
        return False
    return all(map(same, left.split("\n"), right.split("\n")))


def _same_line(left: str, right: str) -> bool:
    left, right = left.rstrip(), right.rstrip()
    if left == right:
        return True
    wanted = right.split()
    words = left.split(None, len(wanted))
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    if len(word) > _LONGEST_NUMBER:
        return False
    if expected := _FLOAT.fullmatch(wanted):
        if not (_FLOAT.fullmatch(word) or _INTEGER.fullmatch(word)):
            return False
        return _near(_CONTEXT.create_decimal(word), expected)
    if _INTEGER.fullmatch(wanted) and _FLOAT.fullmatch(word):
        # Exact: the words as they are, not rounded to the digits of the context.
        return Decimal(word) == Decimal(wanted)
    return False


def _near(value: Decimal, expected: re.Match[str]) -> bool:
    wanted = _CONTEXT.create_decimal(expected[0])
    apart = _CONTEXT.abs(_CONTEXT.subtract(value, wanted))
    largest = max(_CONTEXT.abs(value), _CONTEXT.abs(wanted))
    within = max(_CONTEXT.multiply(largest, _RELATIVE), _NEAR_ZERO)
    decimals = len(expected[1] or expected[2] or "")
    if decimals >= _DECIMALS and "e" not in expected[0].lower():
        within = max(within, Decimal((0, (5,), -decimals - 1)))
    return apart <= within


def _same_decimals(left: str, right: str) -> bool:
    left, right = left.strip(), right.strip()
    if left == right:
        return True
    wanted = right.split()
    words = left.split(None, len(wanted))
    if any(len(word) > _LONGEST_NUMBER for word in words):
        return False
    return len(words) == len(wanted) and _decimals(words) == _decimals(wanted) is not None


def _decimals(words: Sequence[str]) -> list[Decimal] | None:
    try:
        numbers = [Decimal(word) for word in words]
    except InvalidOperation:
        return None
    # Their judge compares with `==`, which not-a-number fails; a signalling one raises there.
    return None if any(number.is_nan() for number in numbers) else numbers
