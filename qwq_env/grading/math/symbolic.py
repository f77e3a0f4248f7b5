"""math-verify on what the small reader does not know: sums, integrals, sets, other notation.

It parses LaTeX with a grammar (no `eval`, no `sympify`, its own extraction is not used) and
compares with SymPy. Both can run for ever and eat all memory, which is why this module is only
imported in a worker that can be killed; math-verify's own timeouts are off, since they need the
main thread's alarm and are swallowed by its `except` clauses.
"""

import re
from functools import lru_cache
from typing import Any

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import grader as math_verify
from sympy import Basic, MatrixBase, N, Product, Sum

from qwq_env.grading.math.expression import COMMANDS
from qwq_env.grading.math.tree import TooComplex, Unreadable

__all__ = ["parse", "same_meaning"]

MAX_CHARACTERS = 1_500
MAX_TERMS = 1_000
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_DIGITS = 30
_COMMAND = re.compile(r"\\([A-Za-z]+)")
# What is none of these would be skipped by the grammar, or read as a product of letters.
_UNDERSTOOD = COMMANDS | {
    "int", "iint", "oint", "lim", "to", "rightarrow", "infty", "partial", "nabla", "det", "cup",
    "cap", "setminus", "in", "notin", "subset", "subseteq", "emptyset", "mathbb", "begin", "end",
    "cr", "operatorname", "vdots", "ddots", "prime", "top", "neq", "leq", "geq", "approx", "lVert",
    "rVert", "Vert", "times",
}  # fmt: skip


def same_meaning(gold: str, answer: str) -> bool:
    """Whether math-verify takes the two for the same.

    Its numeric comparison calls any two tiny numbers equal; where both sides are numbers its
    "yes" is checked against 30 digits of each. Raises `Unreadable` when one side does not parse.
    """
    left, right = parse(gold), parse(answer)
    if not _names(right) <= _names(left):
        return False
    for side in (left, right):
        _refuse_long_sums(side)
    if not math_verify.verify(left, right, timeout_seconds=None, raise_on_error=False):
        return False
    return not _are_different_numbers(left, right)


@lru_cache(maxsize=512)
def parse(text: str) -> Any:
    """The SymPy object that a canonical text stands for; raises `Unreadable` or `TooComplex`.

    The boundary to the grammar: it raises bare `Exception`s, and SymPy any other, for text that it
    cannot read, so whatever it raises but for a lack of memory means that.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooComplex("the expression is too long")
    for command in _COMMAND.findall(text):
        if command not in _UNDERSTOOD:
            raise Unreadable(f"unknown command \\{command}")
    text = text.replace("\\cr ", "\\\\ ")
    complex_values = math_verify.should_treat_as_complex(text)
    try:
        return latex2sympy(
            text,
            is_real=not complex_values,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
    except MemoryError:
        raise
    except RecursionError:
        raise TooComplex("the expression is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - the boundary to the grammar
        raise Unreadable(f"does not parse: {str(error).splitlines()[0][:80]}") from None


def _names(side: Any) -> set[str]:
    return {str(symbol) for symbol in getattr(side, "free_symbols", ())}


def _refuse_long_sums(side: Any) -> None:
    """SymPy adds up a sum with numbers for bounds, term by term, however many there are."""
    if not isinstance(side, Basic):
        return
    for sum_or_product in side.atoms(Sum, Product):
        for _, low, high in (limit for limit in sum_or_product.limits if len(limit) == 3):
            length = high - low
            if length.is_number and not length.is_infinite and length > MAX_TERMS:
                raise TooComplex(f"a sum of more than {MAX_TERMS} terms")


def _are_different_numbers(left: Any, right: Any) -> bool:
    if not (isinstance(left, Basic) and isinstance(right, Basic)):
        return False
    if isinstance(left, MatrixBase) or not (left.is_number and right.is_number):
        return False
    try:
        first, second = N(left, _DIGITS), N(right, _DIGITS)
        scale = max(abs(first), abs(second))
        return bool(abs(first - second) > scale * 10**-12)
    except (TypeError, ValueError, AttributeError):
        return True  # numbers that have no value are not the same
