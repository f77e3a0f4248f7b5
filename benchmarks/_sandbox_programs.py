"""The programs that every side of the sandbox's benchmark runs, and what they must print.

Each is drawn with coefficients of its own, so that nobody has its result already: not the warm
image, whose SymPy remembers what its warm-up computed, nor a kernel that ran the one before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

KINDS: Final[dict[str, str]] = {
    "derivative": "print(sympy.diff(sympy.{f}({a}*x + {b})*x**{n}, x))",
    "integral": "print(sympy.integrate({a}*x**{n} + {b}*x**2 + {c}*x - {d}, x))",
    "factor": "print(sympy.factor(sympy.expand(({a}*x + {b})*({c}*x - {d})*(x**2 + {e}))))",
    "cubic": "print(sorted(sympy.solve(sympy.expand((x - {a})*(x + {b})*(x - {c})), x)))",
    "simplify": "print(sympy.simplify((x**2 - {a}**2)/(x - {a}) + {b}))",
    "series": "print(sympy.series(sympy.{g}({a}*x) + {b}*x, x, 0, {n}))",
    "determinant": "print(sympy.expand(sympy.Matrix([[x, {a}, {b}], [{c}, x, {d}], "
    "[{e}, {a}, x]]).det()))",
}
"""name → the line after `import sympy` and `x = sympy.Symbol('x')`."""


def symbolic(seed: int) -> Iterator[str]:
    """Yield programs without end, none like another; any `len(KINDS)` in a row are of each kind."""
    dice = random.Random(seed)
    seen: set[str] = set()
    while True:
        for line in KINDS.values():
            code = _drawn(line, dice)
            while code in seen:
                code = _drawn(line, dice)
            seen.add(code)
            yield code


def _drawn(line: str, dice: random.Random) -> str:
    numbers = {name: dice.randint(2, 999) for name in "abcde"}
    functions = {"f": dice.choice(("sin", "cos", "exp")), "g": dice.choice(("sin", "cos"))}
    drawn = line.format(**numbers, **functions, n=dice.randint(3, 6))
    return f"import sympy\nx = sympy.Symbol('x')\n{drawn}"


def plain(seed: int) -> Iterator[str]:
    """Yield programs that import nothing, none like another."""
    dice = random.Random(seed)
    seen: set[int] = set()
    while True:
        number = dice.randrange(10**9)
        if number not in seen:
            seen.add(number)
            yield f"print({number} * 3 + 1)"


def steps(seed: int) -> Iterator[str]:
    """Yield steps of a session: each sets a name and prints it."""
    for number, code in enumerate(plain(seed)):
        yield f"y = {number}\n{code}"


PROGRAMS: Final[dict[str, Callable[[int], Iterator[str]]]] = {
    "plain": plain, "symbolic": symbolic, "steps": steps,
}  # fmt: skip
