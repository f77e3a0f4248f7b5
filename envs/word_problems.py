"""The wordings of the arithmetic tasks, by difficulty: what is told, and the steps that solve it.

A wording names its numbers; `steps` computes with them exactly, one operation a step, and the last
step is the answer. Numbers in `derived` are computed before the text is written, which is how a
division is made to come out even.

The tables below hold a wording a block: its text, the numbers to `draw` (with the decimal places
of their bounds), those computed `where` one is derived, and the steps that `solve` it. The order of
the numbers is the order they are drawn in, so it is part of what a seed means.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Mapping, Sequence
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


def read_wordings(table: str) -> tuple[Wording, ...]:
    """Read a table of wordings; its form is told in the module's docstring."""
    return tuple(map(_wording, table.strip().split("\n\n")))


def _wording(block: str) -> Wording:
    lines = block.split("\n")
    text = " ".join(line for line in lines if not line.startswith(" "))
    fields = [line.strip().partition(" ") for line in lines if line.startswith(" ")]
    told = {keyword: content.split(", ") for keyword, _, content in fields}
    numbers = dict(map(_range, told["draw"]))
    return Wording(text, numbers, _steps(told["solve"]), _steps(told.get("where", ())))


def _range(line: str) -> tuple[str, Range]:
    """Read `"p in 1.01..9.99"`."""
    name, _, span = line.split()
    low, high = span.split("..")
    places = len(low.partition(".")[2])
    return name, Range(int(low.replace(".", "")), int(high.replace(".", "")), 10**places)


def _steps(lines: Sequence[str]) -> tuple[Step, ...]:
    """Read `"total = a + b"` and the like."""
    steps = []
    for line in lines:
        result, _, left, sign, right = line.split()
        steps.append(Step(result, left, sign, right))
    return tuple(steps)


_ONE_STEP = read_wordings("""
{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?
    draw a in 100..999, b in 100..999
    solve all = a + b

{name} keeps {a} sheep on one farm and {b} on another. How many sheep does {name} keep in all?
    draw a in 100..999, b in 100..999
    solve all = a + b

{name} had {a} {things} and gave away {b} of them. How many {things} are left?
    draw a in 500..999, b in 100..499
    solve left = a - b

{name} has read {b} of the {a} pages of a book. How many pages are left to read?
    draw a in 500..999, b in 100..499
    solve left = a - b

{name} packs {a} boxes with {b} {things} in each. How many {things} is that in all?
    draw a in 100..999, b in 12..99
    solve all = a * b

A machine sorts {a} {things} an hour, and {name} runs it for {b} hours. How many {things} does
it sort?
    draw a in 100..999, b in 12..99
    solve all = a * b
""")

_LARGE_NUMBERS = read_wordings("""
The library in the town of {name} holds {a} books and orders {b} more. How many books will it
hold?
    draw a in 10000..999999, b in 1000..99999
    solve all = a + b

{name} saved {a} points in a game and spends {b} of them. How many points are left?
    draw a in 100000..999999, b in 1000..99999
    solve left = a - b

{name} lays {a} rows of {b} {things}. How many {things} does {name} need?
    draw a in 100..999, b in 100..999
    solve all = a * b

{name} shares {a} {things} equally among {b} bags. How many {things} are in each bag?
    draw each in 100..999, b in 12..99
    where a = each * b
    solve share = a / b
""")

_TWO_STEPS = read_wordings("""
{name} fills {a} boxes with {b} {things} each and has {c} {things} left over. How many {things}
does {name} have in all?
    draw a in 12..99, b in 12..99, c in 100..999
    solve packed = a * b, all = packed + c

{name} had {a} {things}, lost {b} of them, and sold each of the rest for {c} cents. How many
cents did {name} get?
    draw a in 500..999, b in 100..499, c in 12..99
    solve rest = a - b, cents = rest * c

{name} walks {a} steps to work and {b} steps back by another way. How many steps is that in {c}
days?
    draw a in 1000..9999, b in 1000..9999, c in 12..99
    solve day = a + b, all = day * c

{name} has {a} {things}, and {other} has {b} more than {name}. How many {things} do the two have
together?
    draw a in 100..999, b in 100..999
    solve others = a + b, all = others + a

{name} finds {a} {things} in one crate and {b} in another, and shares them equally among {c}
bags. How many {things} are in each bag?
    draw each in 100..999, c in 12..99, a in 100..999
    where total = each * c, b = total - a
    solve all = a + b, share = all / c
""")

_DECIMALS = read_wordings("""
{name} buys {a} notebooks at {p} dollars each and a pen for {q} dollars. How many dollars does
that cost?
    draw a in 3..40, p in 1.01..9.99, q in 1.01..9.99
    solve books = a * p, cost = books + q

{name} buys {a} meters of cloth at {p} dollars a meter and pays with {n} dollars. How many
dollars of change does {name} get?
    draw a in 3..40, p in 1.01..9.99, n in 400..500
    solve cost = a * p, change = n - cost

A tank holds {p} liters, and {name} takes out {q} liters a day for {a} days. How many liters are
left?
    draw p in 500.01..999.99, q in 1.01..9.99, a in 12..49
    solve used = q * a, left = p - used

{name} runs {p} kilometers on each of {a} days and {q} kilometers on the last day. How many
kilometers is that?
    draw a in 3..40, p in 1.1..19.9, q in 1.1..39.9
    solve days = a * p, all = days + q
""")

_FRACTIONS = read_wordings("""
{name} cuts a ribbon of {a} centimeters into {b} equal pieces and sews {c} of them together. How
many centimeters long is that, exactly?
    draw a in 100..999, b in 13..29, c in 3..12
    solve piece = a / b, length = piece * c

{name} pours {a} liters and {b} liters of juice together and fills {c} equal jars with it. How
many liters, exactly, are in each jar?
    draw a in 1.1..19.9, b in 1.1..19.9, c in 7..29
    solve all = a + b, jar = all / c

One pipe fills {a}/{b} of a tank in an hour, and a second one fills {c}/{d} of it. How many
tanks can {name} fill with both in {h} hours, exactly?
    draw a in 1..6, b in 7..19, c in 1..6, d in 7..19, h in 3..29
    solve first = a / b, second = c / d, both = first + second, all = both * h

{name} reads {a}/{b} of a book of {n} pages on Monday and {c} pages on Tuesday. How many pages
is that, exactly?
    draw a in 1..6, b in 7..19, n in 100..999, c in 12..99
    solve part = a / b, monday = part * n, all = monday + c
""")

LEVELS: tuple[tuple[Wording, ...], ...] = (
    _ONE_STEP,
    _LARGE_NUMBERS,
    _TWO_STEPS,
    _DECIMALS,
    _FRACTIONS,
)
"""The wordings of difficulty 1, 2, ...: LEVELS[difficulty - 1]."""

HELD_OUT_LEVELS: tuple[tuple[Wording, ...], ...] = (
    read_wordings("""
At dawn {a} birds sit in the old oak of {name}, and until noon {b} others join them. How many
birds are there at noon?
    draw a in 100..999, b in 100..999
    solve all = a + b

A train leaves with {a} passengers, and {b} of them get off with {name}. How many stay on board?
    draw a in 500..999, b in 100..499
    solve rest = a - b

In the orchard of {name} stand {a} trees, and each bears {b} pears. How many pears is that?
    draw a in 100..999, b in 12..99
    solve all = a * b
"""),
    read_wordings("""
{name} maps {a} stars in winter and {b} in summer. How many stars are on the map then?
    draw a in 10000..999999, b in 1000..99999
    solve all = a + b

Of the {a} votes of an election {b} are for {name}. How many are not?
    draw a in 100000..999999, b in 1000..99999
    solve others = a - b

A hall has {a} rows of {b} seats, and {name} has sold them all. How many people have a seat?
    draw a in 100..999, b in 100..999
    solve all = a * b

{name} pours {a} grams of flour into {b} bowls, as much into each. How many grams does one hold?
    draw each in 100..999, b in 12..99
    where a = each * b
    solve bowl = a / b
"""),
    read_wordings("""
A ferry crosses {a} times with {b} cars, and once more with {c} bicycles. How many vehicles did
{name} count on it?
    draw a in 12..99, b in 12..99, c in 100..999
    solve cars = a * b, all = cars + c

Of {a} seedlings {name} loses {b} to the frost, and each of the others bears {c} tomatoes. How
many tomatoes are there?
    draw a in 500..999, b in 100..499, c in 12..99
    solve rest = a - b, all = rest * c

{name} and {other} type {a} and {b} lines of a text and lay it out on {c} pages with as many lines
each. How many lines are on a page?
    draw each in 100..999, c in 12..99, a in 100..999
    where total = each * c, b = total - a
    solve all = a + b, page = all / c
"""),
    read_wordings("""
{name} sends {a} letters at {p} dollars each and a parcel for {q} dollars. How many dollars is
the postage?
    draw a in 3..40, p in 1.01..9.99, q in 1.01..9.99
    solve letters = a * p, all = letters + q

A roll holds {p} meters of wire, and {name} cuts {a} pieces of {q} meters from it. How many meters
stay on the roll?
    draw p in 500.01..999.99, q in 1.01..9.99, a in 12..49
    solve cut = q * a, left = p - cut

A plant grows {p} centimeters in each of {a} weeks and {q} centimeters in one more. How many
centimeters has {name} measured?
    draw a in 3..40, p in 1.1..19.9, q in 1.1..39.9
    solve weeks = a * p, all = weeks + q
"""),
    read_wordings("""
{name} shares {a} kilograms of rice evenly among {b} families and takes what {c} of them get to
the mill. How many kilograms is that, exactly?
    draw a in 100..999, b in 13..29, c in 3..12
    solve share = a / b, taken = share * c

Two springs give {a} and {b} liters a minute, and {name} leads both into {c} equal channels. How
many liters a minute, exactly, does a channel carry?
    draw a in 1.1..19.9, b in 1.1..19.9, c in 7..29
    solve all = a + b, channel = all / c

{name} has painted {a}/{b} of a fence of {n} boards and then {c} boards more. How many boards is
that, exactly?
    draw a in 1..6, b in 7..19, n in 100..999, c in 12..99
    solve part = a / b, first = part * n, all = first + c
"""),
)
"""The wordings that only held-out tasks have, by difficulty; see `ArithmeticTaskSet`."""
