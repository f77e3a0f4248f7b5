"""When two final answers are the same: the rules, in one place.

Both sides go through the same reading (`latex.canonical`, `structure.read_answer`).

Shapes
- Identical canonical text is equal, whatever it is.
- A list `a, b` or a set `\\{a, b\\}` is equal in any order; sets forget repetitions, lists do not.
- A tuple keeps its order, a list without brackets may stand for it in that order, a set never.
- An interval keeps its brackets, except at infinity. A union is equal in any order.
- A matrix is equal cell by cell; a row or a column is also the tuple of its cells.
- `a \\pm b` is the list of both values. `a : b` is equal part by part, or as a quotient.
- Words are equal without regard to case; `(C)`, `C` and `(C) 12` are the same choice.
- One answer is never equal to several.

Relations
- `x = 5` is 5, when the left side names a quantity and computes nothing; in a chain every exact
  side must be equal, and `\\approx` adds nothing to an exact side. `x = 3` is not `y = 3`.
- Two equations are equal when one is a constant multiple of the other; two inequalities when a
  positive one is. An inequality in one name is its interval; `x \\in S` is S.

Values
- Rational numbers are compared exactly. A decimal is exactly what it says: 0.33 is not 1/3; with
  ten significant digits it may stand for a fraction that has no finite decimal.
- An answer with a symbol that the reference has not is different, even if the symbol cancels.
- Everything else is compared by its values (`sampling`), or by math-verify where those rules end.
- A unit may be left out. Two known units are converted. 28% is 28 and is 0.28; 0.28 is not 28.
- Digits in a base (`204_5`) are equal to the same digits with the same base, or with none.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from qwq_env.grading.math.expression import TooComplex
from qwq_env.grading.math.structure import (
    MAX_ITEMS,
    Answer,
    Brackets,
    Listing,
    Matrix,
    Ratio,
    Relation,
    Union,
    Value,
    Words,
    is_name,
    read_answer,
)

__all__ = ["Comparison", "Oracle"]

_BASED = re.compile(r"(?:(?=\d+_)|(?=\w+_\{?1[1-9]\}?$))([0-9A-Z]+)_\{?(\d{1,2})\}?")
_DIGITS = re.compile(r"\d+")
_DECIMAL = re.compile(r"-?(\d*)\.(\d+)")
_ROUNDED = re.compile(r"-?\d+(?:\.(\d*))?")
_LETTER = re.compile(r"[A-Z]")
_INFINITE = {"\\infty": 1, "+\\infty": 1, "-\\infty": -1}
_FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
_UPWARD = ("<", "\\leq")
_ABSOLUTE = re.compile(r"\|[^|]*\|")
_LONG_DECIMAL = 10
_EXACT_SIGNS = frozenset(["=", "\\equiv"])
_EQUAL_SIGNS = frozenset(["=", "\\equiv", "\\approx", "\\sim"])


class Oracle(Protocol):
    """Decides about expressions; the shapes around them are decided in `Comparison`."""

    def number(self, text: str) -> Fraction | None:
        """The exact value of an expression, or None when it is not a rational number."""

    def same(self, gold: str, answer: str) -> bool:
        """Whether two expressions have the same value."""

    def proportional(self, gold: str, answer: str, positive: bool) -> bool:
        """Whether one expression is a (positive) constant times the other."""


class Comparison:
    """The rules above, for one pair of answers, with an `Oracle` for the expressions in them."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def equal(self, gold: Answer, answer: Answer) -> bool:
        """Whether `answer` is `gold`. Not symmetric: the reference's shape is what was asked."""
        if isinstance(gold, Relation) and isinstance(answer, Relation):
            return self._relations(gold, answer)
        if isinstance(gold, Relation):
            return self._value_for_relation(gold, answer)
        if isinstance(answer, Relation):
            return self._relation_for_value(gold, answer)
        if isinstance(gold, Value) and isinstance(answer, Value):
            return self._values(gold, answer)
        if isinstance(gold, Words) or isinstance(answer, Words):
            return _letters(gold) is not None and _letters(gold) == _letters(answer)
        if isinstance(gold, Ratio) or isinstance(answer, Ratio):
            return self._ratios(gold, answer)
        if isinstance(gold, Matrix) or isinstance(answer, Matrix):
            return self._matrices(gold, answer)
        if isinstance(gold, Union) or isinstance(answer, Union):
            return self._unions(gold, answer)
        return self._collections(gold, answer)

    def _collections(self, gold: Answer, answer: Answer) -> bool:
        if isinstance(gold, Brackets) and isinstance(answer, Brackets):
            return self._brackets(gold, answer)
        if isinstance(gold, Listing) and isinstance(answer, Listing):
            return self._listings(gold, answer)
        for one, other in ((gold, answer), (answer, gold)):
            if isinstance(one, Listing) and isinstance(other, Brackets):
                if one.braces or other.opening not in ("(", "\\langle"):
                    return False
                return self._in_order(_items(gold), _items(answer))
        return len(_items(gold)) == len(_items(answer)) == 1 and self.equal(
            _items(gold)[0], _items(answer)[0]
        )

    def _in_order(self, gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
        return len(gold) == len(answer) and all(map(self.equal, gold, answer))

    def _listings(self, gold: Listing, answer: Listing) -> bool:
        if self._any_order(gold.items, answer.items):
            return True
        if not (gold.braces and answer.braces):
            return False
        elements = tuple(dict.fromkeys(answer.items))
        if len(elements) > MAX_ITEMS and not all(
            any(self.equal(item, element) for item in gold.items) for element in elements
        ):
            return False  # before elements are compared with each other
        return self._any_order(self._distinct(gold.items), self._distinct(elements))

    def _distinct(self, items: Sequence[Answer]) -> list[Answer]:
        if len(items) > MAX_ITEMS:
            raise TooComplex("a set of too many elements")
        kept: list[Answer] = []
        for item in items:
            if not any(self.equal(other, item) for other in kept):
                kept.append(item)
        return kept

    def _any_order(self, gold: Sequence[Answer], answer: Sequence[Answer]) -> bool:
        if len(gold) != len(answer):
            return False
        if len(gold) > MAX_ITEMS:
            raise TooComplex("too many parts to be compared in any order")
        left = list(answer)
        for item in gold:
            place = next((at for at, other in enumerate(left) if self.equal(item, other)), None)
            if place is None:
                return False
            del left[place]
        return True

    def _brackets(self, gold: Brackets, answer: Brackets) -> bool:
        if len(gold.items) != len(answer.items):
            return False
        if len(gold.items) == 2:
            ends = (
                (gold.items[0], _plain(gold.opening), _plain(answer.opening)),
                (gold.items[1], _plain(gold.closing), _plain(answer.closing)),
            )
            if any(one != other and not _is_infinite(item) for item, one, other in ends):
                return False
        return self._in_order(gold.items, answer.items)

    def _unions(self, gold: Answer, answer: Answer) -> bool:
        golds, answers = _parts(gold), _parts(answer)
        return golds is not None and answers is not None and self._any_order(golds, answers)

    def _matrices(self, gold: Answer, answer: Answer) -> bool:
        if isinstance(gold, Matrix) and isinstance(answer, Matrix):
            return (
                gold.determinant == answer.determinant
                and len(gold.rows) == len(answer.rows)
                and all(map(self._in_order, gold.rows, answer.rows))
            )
        texts = [side.text for side in (gold, answer) if isinstance(side, Matrix | Value)]
        determinant = any(isinstance(side, Matrix) and side.determinant for side in (gold, answer))
        if len(texts) == 2 and (determinant or all("matrix}" in text for text in texts)):
            return self.oracle.same(texts[0], texts[1])  # a product, a multiple, a determinant
        golds, answers = _vector(gold), _vector(answer)
        return golds is not None and answers is not None and self._in_order(golds, answers)

    def _ratios(self, gold: Answer, answer: Answer) -> bool:
        if isinstance(gold, Ratio) and isinstance(answer, Ratio):
            if self._in_order(gold.parts, answer.parts):
                return True
            if len(gold.parts) != len(answer.parts):
                return False
        golds, answers = _quotient(gold), _quotient(answer)
        if golds is None or answers is None:
            return False
        return self.oracle.same(golds, answers)

    def _values(self, gold: Value, answer: Value) -> bool:
        if gold.text == answer.text and gold.unit == answer.unit:
            return True
        based = [_BASED.fullmatch(side.text.replace(" ", "")) for side in (gold, answer)]
        if any(based):
            return _same_digits(gold.text, answer.text)
        if gold.text in _INFINITE or answer.text in _INFINITE:
            return _INFINITE.get(gold.text) == _INFINITE.get(answer.text)
        digits = _DIGITS.fullmatch(gold.text) and _DIGITS.fullmatch(answer.text)
        if digits and (gold.unit is None or answer.unit is None):
            # Without a conversion, so that thousands of digits cost nothing.
            return gold.text.lstrip("0") == answer.text.lstrip("0")
        factors = _unit_factors(gold, answer)
        numbers = self.oracle.number(gold.text), self.oracle.number(answer.text)
        if numbers[0] is not None and numbers[1] is not None:
            return any(
                numbers[0] * one == numbers[1] * other
                or _rounds_to(numbers[0], gold.text, numbers[1], answer.text)
                for one, other in factors
            )
        return any(
            self.oracle.same(_scaled(gold.text, one), _scaled(answer.text, other))
            for one, other in factors
        )

    def _relation_for_value(self, gold: Answer, answer: Relation) -> bool:
        if not set(answer.signs) <= _EQUAL_SIGNS:
            interval = _interval(answer)
            return interval is not None and self.equal(gold, interval)
        if (
            isinstance(gold, Value)
            and _LETTER.fullmatch(gold.text)
            and all(map(is_name, answer.sides))
        ):
            return False  # a choice; another one beside it makes two
        sides = _computed(answer)
        if not all(self.equal(gold, read_answer(side)) for side in sides):
            return False
        return all(self._approximates(side, sides[0]) for side in _rough(answer))

    def _approximates(self, side: str, exact: str) -> bool:
        """Whether a number behind `\\approx` is one that the exact number may be rounded to."""
        found = _ROUNDED.fullmatch(side.replace(",", "").strip())
        value = self.oracle.number(exact)
        if value is None:
            return True
        return found is not None and abs(value - Fraction(found[0])) < Fraction(
            1, 10 ** len(found[1] or "")
        )

    def _value_for_relation(self, gold: Relation, answer: Answer) -> bool:
        if not set(gold.signs) <= _EQUAL_SIGNS:
            interval = _interval(gold)
            return interval is not None and self.equal(interval, answer)
        if not any(map(is_name, gold.sides)):
            return False
        sides = _computed(gold)
        return bool(sides) and self.equal(read_answer(sides[-1]), answer)

    def _relations(self, gold: Relation, answer: Relation) -> bool:
        if [_squeezed(side) for side in gold.sides] == [
            _squeezed(side) for side in answer.sides
        ] and gold.signs == answer.signs:
            return True
        if set(gold.signs) <= _EQUAL_SIGNS and set(answer.signs) <= _EQUAL_SIGNS:
            return self._equations(gold, answer)
        if _EQUAL_SIGNS & (set(gold.signs) | set(answer.signs)):
            return False
        golds, answers = _interval(gold), _interval(answer)
        same_name = _names(gold) == _names(answer)
        if same_name and golds is not None and answers is not None and self.equal(golds, answers):
            return True
        return self._inequalities(gold, answer)

    def _equations(self, gold: Relation, answer: Relation) -> bool:
        if _names(gold) & _names(answer):
            golds, answers = _computed(gold), _computed(answer)
            if golds and answers:
                reference = read_answer(golds[-1])
                if all(self.equal(reference, read_answer(side)) for side in answers):
                    return True
        if len(gold.sides) == len(answer.sides) == 2:
            return self.oracle.proportional(_difference(gold), _difference(answer), False)
        return False

    def _inequalities(self, gold: Relation, answer: Relation) -> bool:
        if len(gold.sides) != len(answer.sides):
            return False
        if len(gold.sides) == 2:
            positive = gold.signs != ("\\neq",)
            if gold.signs[0] != answer.signs[0]:
                if _FLIPPED.get(gold.signs[0]) != answer.signs[0]:
                    return False
                answer = _reversed(answer)
            return self.oracle.proportional(_difference(gold), _difference(answer), positive)
        return any(
            gold.signs == one.signs and all(map(self._sides, gold.sides, one.sides))
            for one in (answer, _reversed(answer))
        )

    def _sides(self, gold: str, answer: str) -> bool:
        return self.equal(read_answer(gold), read_answer(answer))


def _squeezed(text: str) -> str:
    return text.replace(" ", "").replace("{", "").replace("}", "")


def _letters(answer: Answer) -> str | None:
    if isinstance(answer, Words):
        return answer.text
    if isinstance(answer, Value):
        text = answer.text.strip("() ")
        return f"({text})" if len(text) == 1 and text.isupper() else answer.text.casefold()
    return None


def _items(answer: Answer) -> tuple[Answer, ...]:
    return answer.items if isinstance(answer, Listing | Brackets) else (answer,)


def _plain(bracket: str) -> str:
    return {"\\langle": "(", "\\rangle": ")"}.get(bracket, bracket)


def _is_infinite(answer: Answer) -> bool:
    return isinstance(answer, Value) and answer.text.replace(" ", "") in _INFINITE


def _parts(answer: Answer) -> tuple[Answer, ...] | None:
    """The sets whose union this is; inequalities in a list are the intervals they describe."""
    if isinstance(answer, Union):
        return answer.parts
    if isinstance(answer, Listing) and not answer.braces:
        parts = [_interval(item) for item in answer.items if isinstance(item, Relation)]
        kept = [part for part in parts if part is not None]
        return tuple(kept) if len(kept) == len(answer.items) else None
    return (answer,) if isinstance(answer, Brackets | Listing) else None


def _vector(answer: Answer) -> tuple[Answer, ...] | None:
    if isinstance(answer, Matrix):
        if len(answer.rows) == 1:
            return answer.rows[0]
        if all(len(row) == 1 for row in answer.rows):
            return tuple(row[0] for row in answer.rows)
        return None
    if isinstance(answer, Brackets):
        return answer.items
    return None


def _quotient(answer: Answer) -> str | None:
    if isinstance(answer, Value):
        return answer.text
    if not isinstance(answer, Ratio) or len(answer.parts) != 2:
        return None
    parts = [part.text for part in answer.parts if isinstance(part, Value)]
    if len(parts) != 2 or any(part.startswith("0") or len(part) > 80 for part in parts):
        return None  # a time of day
    if re.fullmatch(r"0\d", parts[1]):
        return None
    return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"


def _same_digits(gold: str, answer: str) -> bool:
    golds, answers = (_BASED.fullmatch(side.replace(" ", "")) for side in (gold, answer))
    digits = [found[1].lstrip("0").upper() if found else None for found in (golds, answers)]
    plain = [side.replace(" ", "").lstrip("0").upper() for side in (gold, answer)]
    if golds and answers and golds[2] != answers[2]:
        return False
    if answers and not golds and answers[2] != "10":
        return False  # the reference says the number in base ten
    return (digits[0] or plain[0]) == (digits[1] or plain[1])


def _unit_factors(gold: Value, answer: Value) -> list[tuple[Fraction, Fraction]]:
    """What the two numbers are multiplied by before they are compared: one reading or more."""
    one = Fraction(1)
    units = gold.unit, answer.unit
    percents = [unit is not None and unit.dimension == "percent" for unit in units]
    if percents[0] != percents[1]:
        hundredth = Fraction(1, 100)
        return [(one, one), (hundredth, one) if percents[0] else (one, hundredth)]
    if units[0] and units[1] and units[0].dimension and units[1].dimension:
        if units[0].dimension != units[1].dimension:
            return []
        return [(units[0].size, units[1].size)]
    return [(one, one)]


def _scaled(text: str, factor: Fraction) -> str:
    if factor == 1:
        return text
    return f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}({text})"


def _rounds_to(gold: Fraction, gold_text: str, answer: Fraction, answer_text: str) -> bool:
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


def _computed(relation: Relation) -> list[str]:
    """The sides that say a value: no names, and nothing approximate when there is an exact one."""
    exact: list[str] = []
    rough: list[str] = []
    for place, side in enumerate(relation.sides):
        if is_name(side) and not _is_constant(side):
            continue
        sign = relation.signs[place - 1] if place else "="
        (exact if sign in _EXACT_SIGNS else rough).append(side)
    if not exact and not rough:  # x = y: the last name is what the first one is
        return [relation.sides[-1]]
    return exact or rough


def _rough(relation: Relation) -> list[str]:
    """The sides behind `\\approx`."""
    return [
        side
        for sign, side in zip(relation.signs, relation.sides[1:], strict=True)
        if sign not in _EXACT_SIGNS
    ]


def _is_constant(side: str) -> bool:
    return side.strip() in ("\\pi", "e", "i", "\\infty", "\\emptyset", "-\\infty")


def _names(relation: Relation) -> frozenset[str]:
    return frozenset(
        side.replace(" ", "").strip("|")
        for side in relation.sides
        if is_name(side) and not _is_constant(side)
    )


def _difference(relation: Relation) -> str:
    return f"({relation.sides[0]})-({relation.sides[1]})"


def _reversed(relation: Relation) -> Relation:
    return Relation(
        relation.sides[::-1], tuple(_FLIPPED.get(sign, sign) for sign in relation.signs[::-1])
    )


def _interval(relation: Relation) -> Answer | None:
    """The set in which the one name of an inequality lies, or None."""
    sides, signs = relation.sides, relation.signs
    if len(sides) == 2 and is_name(sides[1]) and not is_name(sides[0]):
        return _interval(_reversed(relation))
    if len(sides) == 3 and signs[0] in (">", "\\geq"):
        if signs[1] not in (">", "\\geq"):
            return None
        return _interval(_reversed(relation))
    if len(sides) == 2 and is_name(sides[0]):
        return _ray(sides[0], signs[0], sides[1])
    if len(sides) == 3 and is_name(sides[1]) and all(sign in _UPWARD for sign in signs):
        return _segment(sides[0], signs[0], sides[1], signs[1], sides[2])
    return None


def _ray(name: str, sign: str, bound: str) -> Answer | None:
    above = Brackets((read_answer(bound), Value("\\infty")), _opening(sign), ")")
    below = Brackets((Value("-\\infty"), read_answer(bound)), "(", _closing(sign))
    if sign == "\\neq":
        return Union((below, above))
    if sign not in _FLIPPED:
        return None
    if not _ABSOLUTE.fullmatch(name):
        return below if sign in _UPWARD else above
    if sign in _UPWARD:
        return Brackets((_negated(bound), read_answer(bound)), _opening(sign), _closing(sign))
    return Union((Brackets((Value("-\\infty"), _negated(bound)), "(", _closing(sign)), above))


def _segment(low: str, below: str, name: str, above: str, high: str) -> Answer:
    inner = Brackets((read_answer(low), read_answer(high)), _opening(below), _closing(above))
    if not _ABSOLUTE.fullmatch(name):
        return inner
    mirrored = Brackets((_negated(high), _negated(low)), _opening(above), _closing(below))
    return Union((mirrored, inner))


def _opening(sign: str) -> str:
    return "(" if sign in ("<", ">", "\\neq") else "["


def _closing(sign: str) -> str:
    return ")" if sign in ("<", ">", "\\neq") else "]"


def _negated(text: str) -> Answer:
    return read_answer(f"-({text})")
