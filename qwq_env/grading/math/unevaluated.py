"""Whether an answer is a number, or the computation that would give it.

`\\gcd(12,18)`, `48+\\frac{48}{2}` and an integral have the value of the reference and are the
question over again: a reward for them pays for no work. So where the reference is a number, an
answer must be written as references are: numerals, fractions, mixed numbers, roots, powers,
scientific notation, constants, and sums and products of such parts in which nothing rational is
left to be added or multiplied. A division that comes out even is left undone: `48/2` is not 24.
What the reference itself leaves to be computed, the answer may leave too.

An expression that the question holds is no answer to it either, whatever the reference is, unless
it is the reference, however that is spelled: `\\sqrt{117}` where that was to be simplified. Numbers
side by side, `(2,-3)` or an interval, and a number with its unit are no expressions.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from qwq_env.grading.math.exact import exact_operation
from qwq_env.grading.math.expression import is_proper_fraction
from qwq_env.grading.math.latex import canonical
from qwq_env.grading.math.oracle import read_or_leave
from qwq_env.grading.math.tree import Call, Node, Number, TooComplex, Unreadable, symbols
from qwq_env.grading.math.units import split_unit

__all__ = ["leaves_more_to_compute", "restates"]

_CONSTANTS = frozenset(["pi", "e", "i", "infty"])
_WRITTEN = frozenset(["neg", "root", "exp", "degrees"])
"""Calls that are ways to write a number, whatever they are applied to."""
_ARITHMETIC = frozenset(["sum of numbers", "product of numbers", "division", "power"])
_FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(["ln", "log", "log10", "logbase"], "logarithm"),
    **dict.fromkeys(["sin", "cos", "tan", "cot", "sec", "csc"], "trigonometry"),
    **dict.fromkeys(["arcsin", "arccos", "arctan", "arccot"], "angle"),
    **dict.fromkeys(["sinh", "cosh", "tanh"], "hyperbolic"),
    **dict.fromkeys(["factorial", "factorial2", "binom"], "combinatorics"),
}
_ONE = (
    r"(?:[a-z]=)?[-+]?(?:\d[\d.]*(?:/\d+)?|\.\d+|\\frac\{\d+\}\{\d+\}|[A-Za-z]|\\[A-Za-z]+)?"
    r"(?:%|\^\\circ)?(?:\\text\{[^{}]*\})?"
)
_SEVERAL = rf"(?:\\\{{|[(\[])?{_ONE}(?:[,;]{_ONE})*(?:\\\}}|[)\]])?"
_FREELY_GIVEN = re.compile(rf"{_SEVERAL}(?:\\cup{_SEVERAL})*")
"""What a question may hold by chance: a number, name or word, or several in brackets or none."""
_NAMED = re.compile(r"(?:[a-z]|[a-zA-Z]\([a-z]\)) *= *(?=[^=<>]+\Z)")
_IN_ANY_ORDER = frozenset(["add", "mul"])
_OPERATION = re.compile(r"[-+*/^!|=<>_]|\\(?!text|frac|circ)[A-Za-z]+")
_TEN = Number(Fraction(10))


class _Read(NamedTuple):
    """What an expression leaves to be computed, whether it is a number, and its exact value."""

    kinds: frozenset[str]
    is_number: bool
    value: Fraction | None


_BEYOND = _Read(frozenset(["beyond the reader"]), False, None)


def leaves_more_to_compute(gold: str, answer: str) -> bool:
    """Whether `gold` is a number and `answer` leaves to be computed what `gold` does not.

    False for texts that are no expressions. Raises `TooComplex` and RecursionError.
    """
    if _is_numeral(answer):
        return False
    wanted = _read(gold)
    if wanted is None or not wanted.is_number:
        return False
    found = _read(answer)
    if found is None:
        return False
    allowed = wanted.kinds | (_ARITHMETIC if wanted.kinds else frozenset())
    if not found.kinds <= allowed:
        return True
    # A rational number out of parts that are none: something must cancel.
    return not wanted.kinds and wanted.value is not None and found.value is None


def restates(question: str, answer: str, gold: str) -> bool:
    """Whether `answer` is an expression that the question holds, and not as `gold` writes it."""
    written = _squeezed(answer)
    if not _OPERATION.search(written.lstrip("+-")) or written not in _squeezed(question):
        return False
    value = split_unit(canonical(answer))[0]
    if _FREELY_GIVEN.fullmatch(value.replace(" ", "")):
        return False
    return _form(value) != _form(split_unit(canonical(gold))[0])


def _form(text: str) -> object:
    """What two spellings of one expression have in common; the name given to it does not count."""
    text = _NAMED.sub("", text)
    try:
        node = read_or_leave(text)
    except (Unreadable, TooComplex):
        node = None
    return text.replace(" ", "") if node is None else _sorted(node)


def _sorted(node: Node) -> Node:
    """The tree with the parts of each sum and each product in one order."""
    if not isinstance(node, Call):
        return node
    parts = tuple(map(_sorted, node.arguments))
    return Call(node.name, tuple(sorted(parts, key=repr)) if node.name in _IN_ANY_ORDER else parts)


def _squeezed(text: str) -> str:
    return canonical(text).replace(" ", "")


def _is_numeral(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdecimal()


@lru_cache(maxsize=4096)
def _read(text: str) -> _Read | None:
    try:
        node = read_or_leave(text)
    except Unreadable:
        return None
    if node is None:
        return _BEYOND
    try:
        kinds, value = _look(node)
    except ZeroDivisionError:
        return None
    return _Read(kinds, symbols(node) <= _CONSTANTS, value)


def _look(node: Node) -> tuple[frozenset[str], Fraction | None]:
    """The kinds of operations that a tree leaves to be done, and its exact value if rational."""
    if isinstance(node, Number):
        return frozenset(), node.value
    if not isinstance(node, Call):
        return frozenset(), None
    looks = [_look(argument) for argument in node.arguments]
    kinds = frozenset[str]().union(*(kind for kind, _ in looks))
    values = [value for _, value in looks if value is not None]
    exact = len(values) == len(looks)
    value = exact_operation(node.name, values) if exact else None
    left = _left_undone(node, len(values), value)
    return kinds | {left} if left else kinds, value


def _left_undone(node: Call, rationals: int, value: Fraction | None) -> str | None:
    """What kind of operation this one is, if it is to be done; `rationals` of its arguments are."""
    name, parts = node.name, node.arguments
    if name in _WRITTEN or name.startswith("opaque:"):
        return None
    if name == "add":
        return "sum of numbers" if rationals > 1 and not _is_mixed(parts) else None
    if name == "mul":
        return "product of numbers" if rationals > 1 and not _is_scientific(parts) else None
    if name == "div":
        even = value is not None and value.denominator == 1
        plain = all(map(_is_whole_or_power, parts))
        if parts[1] == Number(Fraction(1)):
            return None
        return "division" if rationals > 1 and (even or not plain) else None
    if name == "pow":
        return "power" if rationals > 1 and not all(map(_is_fraction, parts)) else None
    return _FAMILIES.get(name, name)


def _bare(node: Node) -> Node:
    return node.arguments[0] if isinstance(node, Call) and node.name == "neg" else node


def _is_mixed(parts: tuple[Node, ...]) -> bool:
    """Whether the sum is a mixed number, `2\\frac13`."""
    whole, *rest = parts
    return isinstance(whole, Number) and len(rest) == 1 and is_proper_fraction(rest[0])


def _is_scientific(parts: tuple[Node, ...]) -> bool:
    """Whether the product is `3\\cdot 10^8`, or a count of dozens (see `latex`)."""
    first, second = parts
    if not _is_fraction(first) or not isinstance(second, Call) or second.name != "pow":
        return False
    base, exponent = second.arguments
    return isinstance(_bare(exponent), Number) and (base == _TEN or exponent == Number(Fraction(1)))


def _is_fraction(node: Node) -> bool:
    """Whether this is a numeral, or a fraction of two, with or without a sign."""
    node = _bare(node)
    if isinstance(node, Call) and node.name == "div":
        return all(isinstance(_bare(part), Number) for part in node.arguments)
    return isinstance(node, Number)


def _is_whole_or_power(node: Node) -> bool:
    """Whether this may stand above or below the line of a fraction: `5`, `-5`, `5^4`."""
    node = _bare(node)
    if isinstance(node, Call) and node.name == "pow":
        return all(isinstance(_bare(part), Number) for part in node.arguments)
    return isinstance(node, Number)
