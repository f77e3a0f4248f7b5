r"""Whether SymPy takes two formulae for the same, as the judge of AMPS_Hard asks it.

Runs in a worker that can be killed: SymPy may simplify for ever. Formulae are read by the grammar
of latex2sympy2 (extra `grading`), nothing is evaluated as code. The official judge reads with
SymPy's own two grammars; whatever either of them cannot read is wrong to it.
"""

from typing import Any

from qwq_env.grading.score import Score

__all__ = ["equivalent"]

_TOLERANCE = 0.001


def equivalent(reference: str, formula: str) -> Score:
    """Right if the difference simplifies to 0, or to a number of less than 0.001.

    An answer that does not read is wrong; a reference that does not is undecided.
    """
    if reference.strip() == formula.strip():
        return Score.right()
    left = _read(reference)
    if left is None:
        return Score.undecided("unreadable_reference", reference[:80])
    right = _read(formula)
    if right is None:
        return Score.wrong("unreadable", formula[:80])
    return Score.right() if _is_small(left, right) else Score.wrong("different", formula[:80])


def _read(formula: str) -> Any:
    """The SymPy expression, None for what is none.

    A boundary to foreign code: the grammar raises bare `Exception`, SymPy any other.
    """
    from latex2sympy2_extended.latex2sympy2 import (  # noqa: PLC0415 - optional, and heavy
        ConversionConfig,
        latex2sympy,
    )

    # To the official grammars both are the natural logarithm; models double backslashes at times.
    formula = formula.replace("\\ln", "\\log")
    for text in (formula, formula.replace("\\\\", "\\")):
        try:
            return latex2sympy(
                text,
                is_real=False,
                convert_degrees=False,
                normalization_config=None,
                conversion_config=ConversionConfig(lowercase_symbols=False),
            )
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - the boundary to the grammar
            continue
    return None


def _is_small(left: Any, right: Any) -> bool:
    import sympy  # noqa: PLC0415 - optional, and heavy

    try:
        difference = sympy.simplify(left - right)
        return difference == 0 or bool(sympy.Abs(difference) < _TOLERANCE)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the boundary to SymPy: no number, no order, no subtraction
        return False
