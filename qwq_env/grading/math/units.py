"""Units behind a number: they are cut off, and compared only where both answers have a known one.

The question fixes the unit, so `7 cm` answers a reference of `7`, and `7` one of `7 cm`. But 7 cm
is not 7 m, and 500 cents are 5 dollars: units that are known here are converted, exactly.
"""

import re
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Unit", "compound", "split_unit"]


class Unit(NamedTuple):
    """A unit as written and, when it is known, its dimension and its size in the base unit."""

    name: str
    dimension: str = ""
    size: Fraction = Fraction(1)


def _table() -> dict[str, Unit]:
    rows = """
        length 1 m meter metre|length 1000 km kilometer kilometre|length 1/100 cm centimeter
        |length 1/1000 mm millimeter|length 127/5000 in inch inche|length 381/1250 ft foot feet
        |length 1143/1250 yd yard|length 201168/125 mi mile
        |time 1 s sec second|time 60 min minute|time 3600 h hr hour|time 86400 day|time 604800 week
        |mass 1 g gram|mass 1000 kg kilogram|mass 1/1000 mg milligram
        |volume 1 l liter litre|volume 1/1000 ml milliliter
        |money 1 dollar usd buck|money 1/100 cent
        |angle 1 degree deg circ|percent 1 % percent pct percentage|morning 1 am|evening 1 pm
    """
    table: dict[str, Unit] = {}
    for row in rows.split("|"):
        dimension, size, *names = row.split()
        for name in names:
            table[name] = Unit(name, dimension, Fraction(size))
    return table


_KNOWN = _table()
_SYMBOLS = frozenset(
    ["km", "cm", "mm", "kg", "mg", "ml", "mi", "yd", "ft", "mph", "kph", "rpm", "hr", "sec", "min",
     "usd", "deg", "sq", "cu", "units"]
)  # fmt: skip
_TEXT_TAIL = re.compile(
    r"(?P<unit>\\text\{[^{}]*\}\s*(?:\^\s*\{?-?\d\}?)?"
    r"(?:\s*(?:/|\\cdot|\\text\{[^{}]*\}|per|\^\s*\{?-?\d\}?))*)\s*$"
)
_DEGREES = re.compile(r"\^\\circ\s*(?:C|F|\\text\{\s*[CF]\s*\})?\s*$")
_WORD_TAIL = re.compile(
    r"(?P<value>.*[\d})])(?P<space>\s*)(?P<unit>[A-Za-z]+(?:[ ./][A-Za-z]+)*)\s*"
    r"(?P<power>\^\{[23]\})?$",
    re.DOTALL,
)
_MODULUS = re.compile(
    r"\s*(?:\\pmod|\\mod|\(\s*(?:\\text\{\s*mod\s*\}|\\mod|\\bmod|mod(?![a-z])))"
    r"\s*\{?\s*(\d+|[a-z])\s*\}?\s*\)?$"
)
_ANGLE_INSIDE = re.compile(r"\\(?:circ|sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
# Words and digits that no unit has: behind a number they make a second answer, or another number,
# or take it back.
_NO_UNIT = (
    "or|and|not|no|maybe|either|neither|wrong|is|if|but|else|false|incorrect|except|unless|without"
    "|perhaps|possibly|probably|alternatively|otherwise|instead|versus|vs|unlikely|guess|unknown"
    "|plus|minus|times|over|divided|squared|cubed|factorial|mod|modulo|halves|thirds|quarters"
    "|fourths|fifths|sixths|tenths|hundredths|zero|one|two|three|four|five|six|seven|eight|nine"
    "|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand"
    "|million|billion"
)
_HEDGE = re.compile(
    rf"(?<![A-Za-z])(?:{_NO_UNIT})(?![A-Za-z])|(?<!\^)(?<!\^\{{)(?<!\^-)(?<!\^\{{-)\d",
    re.IGNORECASE,
)
_POWERED = re.compile(r"\^\s*\{?(-?\d)\}?")
_TEXT_GROUP = re.compile(r"\\text\{([^{}]*)\}")
_QUANTITY = r"(\d+(?:\.\d+)?)[\s~]*([A-Za-z]+)\.?"
_QUANTITIES = re.compile(_QUANTITY)
_COMPOUND = re.compile(rf"\s*{_QUANTITY}(?:(?:\s|,|\band\b)*{_QUANTITY}){{1,3}}\s*")
_RATE = re.compile(r"([A-Za-z]+)/([A-Za-z]+)")


def compound(text: str) -> tuple[str, Unit] | None:
    """`("80", minute)` for `1 \\text{ hour } 20 \\text{ minutes}`, a quantity in two units or more.

    None for all else: the units are known ones of one dimension, each smaller than the one before.
    """
    plain = _TEXT_GROUP.sub(r" \1 ", text) if "\\text" in text else text
    if not _COMPOUND.fullmatch(plain):
        return None
    parts = [(Fraction(number), _unit(name)) for number, name in _QUANTITIES.findall(plain)]
    last = parts[-1][1]
    smaller = all(a.size > b.size for (_, a), (_, b) in pairwise(parts))
    if not last.dimension or {unit.dimension for _, unit in parts} != {last.dimension}:
        return None
    total = sum((number * unit.size for number, unit in parts), Fraction(0)) / last.size
    return (str(total), last) if smaller else None


def split_unit(text: str) -> tuple[str, Unit | None]:
    """`("7", Unit("cm", ...))` for `7\\text{ cm}`; the unit is None when there is none.

    What is left is never empty: a text that is a unit and nothing else is given back whole.
    """
    text = text.strip()
    found = _MODULUS.search(text)
    if found and found.start() > 0 and not _is_operation(text[: found.start()], found[1]):
        modulus = "mod " + found[1]
        return text[: found.start()].rstrip(), Unit(modulus, modulus)
    if text.endswith("%") and len(text) > 1:
        return text[:-1].rstrip().rstrip("\\"), _KNOWN["%"]
    found = _DEGREES.search(text)
    if found and found.start() > 0 and not _ANGLE_INSIDE.search(text[: found.start()]):
        return text[: found.start()].rstrip(), _KNOWN["degree"]
    found = _TEXT_TAIL.search(text)
    if found and _is_mathematics(text[: found.start()]) and not _HEDGE.search(found["unit"]):
        return text[: found.start()].rstrip(), _unit(found["unit"])
    found = _WORD_TAIL.fullmatch(text)
    if found and _is_mathematics(found["value"]) and _is_unit(found["unit"], found["space"]):
        return found["value"].rstrip(), _unit(found["unit"] + (found["power"] or ""))
    return text, None


def _is_operation(value: str, modulus: str) -> bool:
    """Whether `18 \\mod 5` asks for a remainder: as the name of a class it would be reduced."""
    whole = re.fullmatch(r"\s*(\d+)\s*", value)
    if whole is None or not modulus.isdecimal() or max(len(whole[1]), len(modulus)) > 30:
        return False
    return int(whole[1]) >= int(modulus)


def _is_mathematics(text: str) -> bool:
    """Whether something is left that has a value of its own."""
    text = text.strip()
    if not text or re.fullmatch(r"[A-Z]", text):
        return False  # a choice has no unit
    return bool(re.search(r"\d|\\[A-Za-z]|[A-Za-z]", text)) and text[-1] not in "+-=<>("


def _is_unit(word: str, space: str) -> bool:
    if _HEDGE.search(word):
        return False
    rate = _RATE.fullmatch(word)
    if rate and _unit(rate[1]).dimension and _unit(rate[2]).dimension:
        return True
    first = re.split(r"[ ./]", word)[0].lower()
    known = first in _SYMBOLS or (first in _KNOWN and len(first) > 1)
    return known or (len(first) >= 3 and (bool(space) or first.rstrip("s") in _KNOWN))


def _unit(text: str) -> Unit:
    power = _POWERED.search(text)
    name = _POWERED.sub("", text).replace("\\text", "").replace("{", "").replace("}", "")
    name = re.sub(r"\s+", " ", name).strip().strip(".").casefold()
    known = _KNOWN.get(name) or _KNOWN.get(name.rstrip("s")) or _KNOWN.get(name.removesuffix("es"))
    for prefix, exponent in (("square ", 2), ("sq ", 2), ("cubic ", 3), ("cu ", 3)):
        if name.startswith(prefix):
            bare = name.removeprefix(prefix)
            known = _KNOWN.get(bare) or _KNOWN.get(bare.rstrip("s"))
            return _powered(known, exponent, name)
    return _powered(known, int(power[1]) if power else 1, name)


def _powered(known: Unit | None, exponent: int, name: str) -> Unit:
    if known is None or exponent < 1:
        return Unit(name)
    dimension = known.dimension if exponent == 1 else f"{known.dimension}^{exponent}"
    return Unit(name, dimension, known.size**exponent)
