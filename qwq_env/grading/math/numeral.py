"""Rules about how a number is written: its base, its unit, and how far a decimal was rounded."""

import re
from fractions import Fraction

from qwq_env.grading.math.structure import Value

__all__ = ["in_a_base", "rounds_to", "same_digits", "scaled", "unit_factors"]

_BASED = re.compile(r"(?:(?=\d+_)|(?=\w+_\{?1[1-9]\}?$))([0-9A-Z]+)_\{?(\d{1,2})\}?")
_DECIMAL = re.compile(r"-?(\d*)\.(\d+)")
_LONG_DECIMAL = 10


def in_a_base(text: str) -> bool:
    """Whether the text is digits in a base, `204_5` or `1A_{16}`."""
    return _BASED.fullmatch(text.replace(" ", "")) is not None


def same_digits(gold: str, answer: str) -> bool:
    """Whether digits in a base are the same, in the same base or in none that is said."""
    golds, answers = (_BASED.fullmatch(side.replace(" ", "")) for side in (gold, answer))
    digits = [found[1].lstrip("0").upper() if found else None for found in (golds, answers)]
    plain = [side.replace(" ", "").lstrip("0").upper() for side in (gold, answer)]
    if golds and answers and golds[2] != answers[2]:
        return False
    if answers and not golds and answers[2] != "10":
        return False  # the reference says the number in base ten
    return (digits[0] or plain[0]) == (digits[1] or plain[1])


def unit_factors(gold: Value, answer: Value) -> list[tuple[Fraction, Fraction]]:
    """What the two numbers are multiplied by before they are compared: one reading or more."""
    one = Fraction(1)
    units = gold.unit, answer.unit
    percents = [unit is not None and unit.dimension == "percent" for unit in units]
    if percents[0] != percents[1]:
        if all(unit is not None and unit.dimension for unit in units):
            return []
        hundredth = Fraction(1, 100)
        return [(one, one), (hundredth, one) if percents[0] else (one, hundredth)]
    if units[0] and units[1] and units[0].dimension and units[1].dimension:
        if units[0].dimension != units[1].dimension:
            return []
        return [(units[0].size, units[1].size)]
    return [(one, one)]


def scaled(text: str, factor: Fraction) -> str:
    """The expression `factor` times `text`."""
    if factor == 1:
        return text
    return f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}({text})"


def rounds_to(gold: Fraction, gold_text: str, answer: Fraction, answer_text: str) -> bool:
    """Whether a long decimal is the other number, cut or rounded; a finite one never is."""
    for exact, decimal, text in ((gold, answer, answer_text), (answer, gold, gold_text)):
        found = _DECIMAL.fullmatch(text)
        if not found or len((found[1] + found[2]).lstrip("0")) < _LONG_DECIMAL:
            continue
        rest = exact.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest != 1 and abs(exact - decimal) < Fraction(1, 10 ** len(found[2])):
            return True
    return False
