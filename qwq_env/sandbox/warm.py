"""What the image does once, so that no program pays for it: first uses, which dwarf the imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_PROGRAMS: Final = {
    "numpy": """
import numpy as np
a = np.arange(6.0).reshape(2, 3)
str(a), a @ a.T, np.linalg.inv(np.eye(3)), np.random.rand(3), np.sort(a.ravel()), a.mean(), a > 1
np.random.default_rng(0).integers(9, size=3), np.polyfit([0, 1, 2], [0, 1, 4], 1)
""",
    "sympy": """
import sympy as s
x, y = s.symbols("x y")
n = s.Symbol("n", integer=True, positive=True)
s.diff(s.sin(x) * x**2, x), s.integrate(x**2 * s.exp(x), x), s.limit(s.sin(x) / x, x, 0)
s.solve(x**2 - 2, x), s.solve([x + y - 1, x - y - 3], [x, y]), s.solveset(x**2 - 4, x, s.S.Reals)
str(s.simplify(s.sqrt(8) + s.sin(x)**2 + s.cos(x)**2)), s.factor(x**2 - 1), s.expand((x + 1)**3)
s.factorint(360), s.gcd(12, 18), s.isprime(97), s.Rational(1, 3) + s.pi, s.latex(x**2 / 3)
s.summation(n, (n, 1, 10)), s.binomial(10, 3), s.N(s.pi, 20), s.Matrix([[1, 2], [3, 4]]).det()
s.sympify("2*x + 1"), s.nsimplify(0.5), s.series(s.exp(x), x, 0, 4), repr(s.sqrt(2))
""",
}


def programs(preload: Sequence[str]) -> list[str]:
    """Return the warm-up programs for the modules that are preloaded."""
    return [_PROGRAMS[name] for name in preload if name in _PROGRAMS]
