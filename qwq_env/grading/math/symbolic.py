"""math-verify on what the small reader does not know: sums, integrals, sets, other notation.

It parses LaTeX with a grammar (no `eval`, no `sympify`, its own extraction is not used) and
compares with SymPy. Both can run for ever and eat all memory, which is why this module is only
imported in a worker that can be killed; math-verify's own timeouts are off, since they need the
main thread's alarm and are swallowed by its `except` clauses.
"""

from functools import lru_cache
from typing import Any

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import grader as math_verify
from sympy import Basic, MatrixBase, N

from qwq_env.grading.math.expression import TooComplex, Unreadable

__all__ = ["parse", "same_meaning"]

MAX_CHARACTERS = 1_500
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_DIGITS = 30


def same_meaning(gold: str, answer: str) -> bool:
    """Whether math-verify takes the two for the same.

    Its numeric comparison calls any two tiny numbers equal; where both sides are numbers its
    "yes" is checked against 30 digits of each. Raises `Unreadable` when one side does not parse.
    """
    left, right = parse(gold), parse(answer)
    if not math_verify.verify(left, right, timeout_seconds=None, raise_on_error=False):
        return False
    return not _are_different_numbers(left, right)


@lru_cache(maxsize=512)
def parse(text: str) -> Any:
    """The SymPy object that a canonical text stands for; raises `Unreadable` or `TooComplex`."""
    if len(text) > MAX_CHARACTERS:
        raise TooComplex("the expression is too long")
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
    except Exception as error:  # noqa: BLE001 - the grammar raises bare Exceptions, SymPy any other
        raise Unreadable(f"does not parse: {str(error).splitlines()[0][:80]}") from None


def _are_different_numbers(left: Any, right: Any) -> bool:
    if not (isinstance(left, Basic) and isinstance(right, Basic)):
        return False
    if isinstance(left, MatrixBase) or not (left.is_number and right.is_number):
        return False
    one, other = complex(0), complex(0)
    try:
        first, second = N(left, _DIGITS), N(right, _DIGITS)
        scale = max(abs(first), abs(second))
        return bool(abs(first - second) > scale * 10**-12)
    except (TypeError, ValueError, AttributeError):
        return one != other
