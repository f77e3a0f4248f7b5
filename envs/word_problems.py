"""The wordings of the arithmetic tasks, by difficulty: what is told, and the steps that solve it.

A wording names its numbers; `steps` computes with them exactly, one operation a step, and the last
step is the answer. Numbers in `derived` are computed before the text is written, which is how a
division is made to come out even.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

OPERATORS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}

# fmt: off
NAMES = (
    "Ada", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo",
    "Iris", "Jonas", "Kira", "Leo", "Mia", "Noah", "Olga", "Paul",
    "Rosa", "Sam", "Tara", "Uma", "Victor", "Wanda", "Yusuf", "Zoe",
)
THINGS = (
    "apples", "beads", "bottles", "bricks", "buttons", "cards", "coins", "eggs",
    "flowers", "marbles", "nails", "pencils", "shells", "stamps", "stickers", "tickets",
)
# fmt: on


class Step(NamedTuple):
    """One operation: `result` = `left` `operator` `right`, each the name of a number."""

    result: str
    left: str
    operator: str
    right: str


class Range(NamedTuple):
    """The numbers from `low` to `high`, in units of 1/`scale` (100: two decimal places)."""

    low: int
    high: int
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Wording:
    """A problem's text with slots: `{name}`, `{other}`, `{things}`, and its numbers."""

    text: str
    numbers: Mapping[str, Range]
    steps: tuple[Step, ...]
    derived: tuple[Step, ...] = field(default=())

    @property
    def slots(self) -> frozenset[str]:
        """The names of what the text shows."""
        return frozenset(slot for _, slot, _, _ in string.Formatter().parse(self.text) if slot)


def _steps(*lines: str) -> tuple[Step, ...]:
    """Read `"total = a + b"` and the like."""
    steps = []
    for line in lines:
        result, _, left, sign, right = line.split()
        steps.append(Step(result, left, sign, right))
    return tuple(steps)


_ONE_STEP = (
    Wording(
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
        {"a": Range(100, 999), "b": Range(100, 999)},
        _steps("all = a + b"),
    ),
    Wording(
        "{name} keeps {a} sheep on one farm and {b} on another. "
        "How many sheep does {name} keep in all?",
        {"a": Range(100, 999), "b": Range(100, 999)},
        _steps("all = a + b"),
    ),
    Wording(
        "{name} had {a} {things} and gave away {b} of them. How many {things} are left?",
        {"a": Range(500, 999), "b": Range(100, 499)},
        _steps("left = a - b"),
    ),
    Wording(
        "{name} has read {b} of the {a} pages of a book. How many pages are left to read?",
        {"a": Range(500, 999), "b": Range(100, 499)},
        _steps("left = a - b"),
    ),
    Wording(
        "{name} packs {a} boxes with {b} {things} in each. How many {things} is that in all?",
        {"a": Range(100, 999), "b": Range(12, 99)},
        _steps("all = a * b"),
    ),
    Wording(
        "A machine sorts {a} {things} an hour, and {name} runs it for {b} hours. "
        "How many {things} does it sort?",
        {"a": Range(100, 999), "b": Range(12, 99)},
        _steps("all = a * b"),
    ),
)

_LARGE_NUMBERS = (
    Wording(
        "The library in the town of {name} holds {a} books and orders {b} more. "
        "How many books will it hold?",
        {"a": Range(10_000, 999_999), "b": Range(1_000, 99_999)},
        _steps("all = a + b"),
    ),
    Wording(
        "{name} saved {a} points in a game and spends {b} of them. How many points are left?",
        {"a": Range(100_000, 999_999), "b": Range(1_000, 99_999)},
        _steps("left = a - b"),
    ),
    Wording(
        "{name} lays {a} rows of {b} {things}. How many {things} does {name} need?",
        {"a": Range(100, 999), "b": Range(100, 999)},
        _steps("all = a * b"),
    ),
    Wording(
        "{name} shares {a} {things} equally among {b} bags. How many {things} are in each bag?",
        {"each": Range(100, 999), "b": Range(12, 99)},
        _steps("share = a / b"),
        _steps("a = each * b"),
    ),
)

_TWO_STEPS = (
    Wording(
        "{name} fills {a} boxes with {b} {things} each and has {c} {things} left over. "
        "How many {things} does {name} have in all?",
        {"a": Range(12, 99), "b": Range(12, 99), "c": Range(100, 999)},
        _steps("packed = a * b", "all = packed + c"),
    ),
    Wording(
        "{name} had {a} {things}, lost {b} of them, and sold each of the rest for {c} cents. "
        "How many cents did {name} get?",
        {"a": Range(500, 999), "b": Range(100, 499), "c": Range(12, 99)},
        _steps("rest = a - b", "cents = rest * c"),
    ),
    Wording(
        "{name} walks {a} steps to work and {b} steps back by another way. "
        "How many steps is that in {c} days?",
        {"a": Range(1_000, 9_999), "b": Range(1_000, 9_999), "c": Range(12, 99)},
        _steps("day = a + b", "all = day * c"),
    ),
    Wording(
        "{name} has {a} {things}, and {other} has {b} more than {name}. "
        "How many {things} do the two have together?",
        {"a": Range(100, 999), "b": Range(100, 999)},
        _steps("others = a + b", "all = others + a"),
    ),
    Wording(
        "{name} finds {a} {things} in one crate and {b} in another, and shares them equally "
        "among {c} bags. How many {things} are in each bag?",
        {"each": Range(100, 999), "c": Range(12, 99), "a": Range(100, 999)},
        _steps("all = a + b", "share = all / c"),
        _steps("total = each * c", "b = total - a"),
    ),
)

_DECIMALS = (
    Wording(
        "{name} buys {a} notebooks at {p} dollars each and a pen for {q} dollars. "
        "How many dollars does that cost?",
        {"a": Range(3, 40), "p": Range(101, 999, 100), "q": Range(101, 999, 100)},
        _steps("books = a * p", "cost = books + q"),
    ),
    Wording(
        "{name} buys {a} meters of cloth at {p} dollars a meter and pays with {n} dollars. "
        "How many dollars of change does {name} get?",
        {"a": Range(3, 40), "p": Range(101, 999, 100), "n": Range(400, 500)},
        _steps("cost = a * p", "change = n - cost"),
    ),
    Wording(
        "A tank holds {p} liters, and {name} takes out {q} liters a day for {a} days. "
        "How many liters are left?",
        {"p": Range(50_001, 99_999, 100), "q": Range(101, 999, 100), "a": Range(12, 49)},
        _steps("used = q * a", "left = p - used"),
    ),
    Wording(
        "{name} runs {p} kilometers on each of {a} days and {q} kilometers on the last day. "
        "How many kilometers is that?",
        {"a": Range(3, 40), "p": Range(11, 199, 10), "q": Range(11, 399, 10)},
        _steps("days = a * p", "all = days + q"),
    ),
)

_FRACTIONS = (
    Wording(
        "{name} cuts a ribbon of {a} centimeters into {b} equal pieces and sews {c} of them "
        "together. How many centimeters long is that, exactly?",
        {"a": Range(100, 999), "b": Range(13, 29), "c": Range(3, 12)},
        _steps("piece = a / b", "length = piece * c"),
    ),
    Wording(
        "{name} pours {a} liters and {b} liters of juice together and fills {c} equal jars "
        "with it. How many liters, exactly, are in each jar?",
        {"a": Range(11, 199, 10), "b": Range(11, 199, 10), "c": Range(7, 29)},
        _steps("all = a + b", "jar = all / c"),
    ),
    Wording(
        "One pipe fills {a}/{b} of a tank in an hour, and a second one fills {c}/{d} of it. "
        "How many tanks can {name} fill with both in {h} hours, exactly?",
        {
            "a": Range(1, 6),
            "b": Range(7, 19),
            "c": Range(1, 6),
            "d": Range(7, 19),
            "h": Range(3, 29),
        },
        _steps("first = a / b", "second = c / d", "both = first + second", "all = both * h"),
    ),
    Wording(
        "{name} reads {a}/{b} of a book of {n} pages on Monday and {c} pages on Tuesday. "
        "How many pages is that, exactly?",
        {"a": Range(1, 6), "b": Range(7, 19), "n": Range(100, 999), "c": Range(12, 99)},
        _steps("part = a / b", "monday = part * n", "all = monday + c"),
    ),
)

LEVELS: tuple[tuple[Wording, ...], ...] = (
    _ONE_STEP,
    _LARGE_NUMBERS,
    _TWO_STEPS,
    _DECIMALS,
    _FRACTIONS,
)
"""The wordings of difficulty 1, 2, ...: LEVELS[difficulty - 1]."""
