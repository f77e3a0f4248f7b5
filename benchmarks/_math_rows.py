"""Math answers to grade, of three kinds; for any interpreter, nothing to install.

Each row is a response with a box, every one different, one in three wrong. By what it takes this
library to tell: `numbers` are compared exactly, in the caller's process; `expressions` by their
values at points (mpmath; points and intervals entry by entry), without SymPy; `symbolic` is what
it hands to math-verify and SymPy itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

Form = Callable[[int, int, int, int], tuple[str, str]]


class Row(NamedTuple):
    """A reference, a response, and whether the response is right."""

    gold: str
    response: str
    right: bool


KINDS: dict[str, tuple[Form, ...]] = {
    "numbers": (
        lambda n, a, b, s: (str(n), f"{n + s:,}"),
        lambda n, a, b, s: (str(n), f"{n + s}\\text{{ apples}}"),
        lambda n, a, b, s: (f"{n}.50", f"\\${n + s}.5"),
        lambda n, a, b, s: (f"\\frac{{{n}}}{{{2 * n + 1}}}", f"{2 * n + 2 * s}/{4 * n + 2}"),
        lambda n, a, b, s: (f"{a}\\%", f"{a + s}\\%"),
    ),
    "expressions": (
        lambda n, a, b, s: (f"({a},{n})", f"({a}, {n + s})"),
        lambda n, a, b, s: (f"[{a},{n + 100})", f"{a} \\le x < {n + 100 + s}"),
        lambda n, a, b, s: (f"{a}\\sqrt{{{n}}}", f"\\sqrt{{{a * a * n + s}}}"),
        lambda n, a, b, s: (f"\\frac{{{a}\\pi}}{{{n}}}", f"\\frac{{{a}}}{{{n + s}}}\\pi"),
        lambda n, a, b, s: (f"{a}x^2-{n}x+{b}", f"x({a}x-{n})+{b + s}"),
        lambda n, a, b, s: (f"y={a}x+{n}", f"y={n + s}+{a}x"),
        lambda n, a, b, s: (f"{a}-{n}i", f"-{n + s}i+{a}"),
    ),
    "symbolic": (
        lambda n, a, b, s: (f"\\int_0^{{{b}}} {a}x^2\\,dx", f"\\frac{{{a * b**3 + s}}}{{3}}"),
        lambda n, a, b, s: (f"\\int_0^x {n}t\\,dt", f"\\frac{{{n + s}x^2}}{{2}}"),
        lambda n, a, b, s: (f"\\lim_{{x\\to 0}}\\frac{{\\sin({n}x)}}{{{a}x}}", f"{n + s}/{a}"),
    ),
}


def rows(kind: str, seed: int, count: int) -> list[Row]:
    """Return so many rows of a kind, each form as often; another seed gives other rows."""
    forms = KINDS[kind]
    return [_row(random.Random(f"{kind} {seed} {i}"), forms[i % len(forms)]) for i in range(count)]


def _row(choose: random.Random, form: Form) -> Row:
    number = choose.randint(2, 99_999)
    other, third = choose.randint(2, 99), choose.randint(2, 30)
    right = choose.random() < 2 / 3
    gold, answer = form(number, other, third, 0 if right else 1)
    thought = f"We compute step by step: {number} and {other} give {third}. " * choose.randint(1, 8)
    text = f"<think>\n{thought}\n</think>\n\nThe answer is $\\boxed{{{answer}}}$."
    return Row(gold, text, right)
