"""When two final answers are the same: the rules, in one place.

Both sides go through the same reading (`latex.canonical`, `structure.read_answer`).

Shapes
- Identical canonical text is equal, whatever it is.
- A list `a, b` or a set `\\{a, b\\}` is equal in any order; sets and lists of
  points forget repetitions, other lists do not.
- A tuple keeps its order, a list without brackets may stand for it in that order, a set never.
- An interval keeps its brackets, except at infinity. A union is equal in any order.
- A matrix is equal cell by cell; a row or a column is also the tuple of its cells.
- `a \\pm b` is the list of both values. `a : b` is equal part by part, or as a quotient;
  `3:30`, which a ratio would reduce, is a time.
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
- A number too large or too small to be computed is different where that is proved (`magnitude`).
- Where the reference is a number, an answer that leaves it to be computed is none
  (`unevaluated`); in a chain of equals one side must give it.
- An answer with a symbol that the reference has not is different, unless the symbol cancels and
  nothing in the answer is a zero.
- Everything else is compared by its values (`sampling`), or by math-verify where those rules end.
- A unit may be left out. Two known units are converted. 28% is 28 and is 0.28; 0.28 is not 28.
- Digits in a base (`204_5`) are equal to the same digits with the same base, or with none.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import Protocol

from qwq_env.grading.math.numeral import (
    in_a_base,
    rounds_to,
    same_digits,
    scaled,
    unit_factors,
)
from qwq_env.grading.math.relation import (
    FLIPPED,
    computed_sides,
    difference,
    interval,
    named,
    reversed_relation,
    rough_sides,
)
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
from qwq_env.grading.math.tree import TooComplex
from qwq_env.grading.math.unevaluated import leaves_more_to_compute

__all__ = ["Comparison", "Oracle"]

_DIGITS = re.compile(r"\d+")
_HOUR = re.compile(r"\d{1,2}")
_MINUTE = re.compile(r"[0-5]\d")
_CLOSED_BY = {"(": ")", "[": "]", "]": "["}
_ROUNDED = re.compile(r"-?\d+(?:\.(\d*))?")
_LETTER = re.compile(r"[A-Z]")
_INFINITE = {"\\infty": 1, "+\\infty": 1, "-\\infty": -1}
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
    """The rules above, for one pair of answers, with an `Oracle` for the expressions in them.

    With `evaluated`, numbers have to be given; `unevaluated` says that one was not.
    """

    def __init__(self, oracle: Oracle, evaluated: bool = True) -> None:
        self.oracle = oracle
        self.evaluated = evaluated
        self.unevaluated = False

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
        points = all(isinstance(item, Brackets) for item in (*gold.items, *answer.items))
        if not ((gold.braces and answer.braces) or points):
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
        if len(gold.items) != 2 and _plain(answer.closing) != _CLOSED_BY[_plain(answer.opening)]:
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
        if len(texts) == 2 and "matrix}" in texts[0] and (determinant or "matrix}" in texts[1]):
            return self.oracle.same(texts[0], texts[1])  # a product, a multiple, a determinant
        golds, answers = _vector(gold), _vector(answer)
        return golds is not None and answers is not None and self._in_order(golds, answers)

    def _ratios(self, gold: Answer, answer: Answer) -> bool:
        if isinstance(gold, Ratio) and isinstance(answer, Ratio):
            if self._in_order(gold.parts, answer.parts):
                return True
            if len(gold.parts) != len(answer.parts):
                return False
        if isinstance(gold, Ratio) and _is_time(gold):
            return False
        golds, answers = _quotient(gold), _quotient(answer)
        if golds is None or answers is None or self._leaves_more(golds, answers):
            return False
        return self.oracle.same(golds, answers)

    def _leaves_more(self, gold: str, answer: str) -> bool:
        if not self.evaluated or not leaves_more_to_compute(gold, answer):
            return False
        self.unevaluated = True
        return True

    def _values(self, gold: Value, answer: Value) -> bool:
        if gold.text == answer.text and gold.unit == answer.unit:
            return True
        if in_a_base(gold.text) or in_a_base(answer.text):
            return same_digits(gold.text, answer.text)
        if gold.text in _INFINITE or answer.text in _INFINITE:
            return _INFINITE.get(gold.text) == _INFINITE.get(answer.text)
        digits = _DIGITS.fullmatch(gold.text) and _DIGITS.fullmatch(answer.text)
        if digits and (gold.unit is None or answer.unit is None):
            # Without a conversion, so that thousands of digits cost nothing.
            return gold.text.lstrip("0") == answer.text.lstrip("0")
        if self._leaves_more(gold.text, answer.text):
            return False
        factors = unit_factors(gold, answer)
        numbers = self.oracle.number(gold.text), self.oracle.number(answer.text)
        if numbers[0] is not None and numbers[1] is not None:
            return any(
                numbers[0] * one == numbers[1] * other
                or rounds_to(numbers[0], gold.text, numbers[1], answer.text)
                for one, other in factors
            )
        return any(
            self.oracle.same(scaled(gold.text, one), scaled(answer.text, other))
            for one, other in factors
        )

    def _relation_for_value(self, gold: Answer, answer: Relation) -> bool:
        if not set(answer.signs) <= _EQUAL_SIGNS:
            described = interval(answer)
            return described is not None and self.equal(gold, described)
        if (
            isinstance(gold, Value)
            and _LETTER.fullmatch(gold.text)
            and all(map(is_name, answer.sides))
        ):
            return False  # a choice; another one beside it makes two
        sides = computed_sides(answer)
        if not self._gives(gold, sides):
            return False
        return all(self._approximates(side, sides[0]) for side in rough_sides(answer))

    def _gives(self, gold: Answer, sides: Sequence[str]) -> bool:
        """Whether all sides of a chain are the reference, and one of them is evaluated."""
        answers = [read_answer(side) for side in sides]
        if not any(self.equal(gold, answer) for answer in answers):
            return False
        return len(answers) == 1 or all(
            Comparison(self.oracle, evaluated=False).equal(gold, answer) for answer in answers
        )

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
            described = interval(gold)
            return described is not None and self.equal(described, answer)
        if not any(map(is_name, gold.sides)):
            # "exact, about rough" gives the exact value; 7 = 11a + c is an equation.
            return gold.signs == ("\\approx",) and self.equal(read_answer(gold.sides[0]), answer)
        sides = computed_sides(gold)
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
        golds, answers = interval(gold), interval(answer)
        same_name = named(gold) == named(answer)
        if same_name and golds is not None and answers is not None and self.equal(golds, answers):
            return True
        return self._inequalities(gold, answer)

    def _equations(self, gold: Relation, answer: Relation) -> bool:
        if named(gold) & named(answer):
            golds, answers = computed_sides(gold), computed_sides(answer)
            if golds and answers and self._gives(read_answer(golds[-1]), answers):
                return True
            if golds and any(self._leaves_more(golds[-1], side) for side in answers):
                return False
        if len(gold.sides) == len(answer.sides) == 2:
            return self.oracle.proportional(difference(gold), difference(answer), False)
        return False

    def _inequalities(self, gold: Relation, answer: Relation) -> bool:
        if len(gold.sides) != len(answer.sides):
            return False
        if len(gold.sides) == 2:
            positive = gold.signs != ("\\neq",)
            if gold.signs[0] != answer.signs[0]:
                if FLIPPED.get(gold.signs[0]) != answer.signs[0]:
                    return False
                answer = reversed_relation(answer)
            return self.oracle.proportional(difference(gold), difference(answer), positive)
        return any(
            gold.signs == one.signs and all(map(self._sides, gold.sides, one.sides))
            for one in (answer, reversed_relation(answer))
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
        parts = [
            interval(item) if isinstance(item, Relation) else item
            for item in answer.items
            if isinstance(item, Relation | Brackets)
        ]
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


def _is_time(ratio: Ratio) -> bool:
    """Whether `3:30` is a time of day: a ratio would have been reduced."""
    parts = [part.text for part in ratio.parts if isinstance(part, Value)]
    if len(parts) != 2 or not (_HOUR.fullmatch(parts[0]) and _MINUTE.fullmatch(parts[1])):
        return False
    return gcd(int(parts[0]), int(parts[1])) > 1


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
