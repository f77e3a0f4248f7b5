"""What stands before a program that is graded: what the judges of its dataset put there."""

from __future__ import annotations

import importlib
import re

# Names that LeetCode's signatures and contest programs use without importing them. Builtins come
# behind the modules that have functions of the same names (`pow` of math, `abs` of operator).
_STARRED = """
    string re datetime collections heapq bisect copy math random statistics itertools functools
    operator io sys json builtins typing
"""
_NAMED = [name for name in _STARRED.split() if name not in ("builtins", "typing")]
# Python refuses to turn integers of more than 4,300 digits into text or back. A program's own CPU
# limit bounds what that costs.
_FREE_DIGITS = "__import__('sys').set_int_max_str_digits(0)"
# With what follows it on the line: to rewrite it in place keeps the numbers of all other lines.
_FUTURE = re.compile(r"^from[ \t]++__future__[ \t]++import[ \t]++\w[^\n;(#]*+", re.MULTILINE)


def contest_prelude(recursion_limit: int, more: str = "") -> str:
    """Return the imports that LiveCodeBench's judge puts before a program, and those built on it.

    Those are star imports of the modules of contests, the modules by name, and a recursion limit
    (LiveCodeBench 50,000; PRIME, verl, DeepCoder and TACO 600,000). `more` is a line of others.
    """
    lines = [f"from {name} import *" for name in _STARRED.split()]
    lines.append(f"import {', '.join(_NAMED)}")
    if more:
        lines.append(more)
    lines.append(f"sys.setrecursionlimit({recursion_limit})")
    return "\n".join(lines)


def starred(module: str) -> frozenset[str]:
    """Return the names that a star import gives of one of those modules; of any other, none."""
    if module not in _STARRED.split():
        return frozenset()
    names = vars(importlib.import_module(module))
    return frozenset(names.get("__all__") or (each for each in names if not each.startswith("_")))


LIVE_CODE_BENCH = contest_prelude(50_000)
CONTEST = contest_prelude(600_000)
# APPS's judge imports these too.
APPS = contest_prelude(600_000, "import time, fractions, numpy as np")


def with_prelude(prelude: str, code: str) -> str:
    """Put `prelude` before a program, but behind its imports from the future: Python insists.

    The prelude takes one line, whatever it holds, so that an error's line is the program's own
    plus one (and one for each import from the future).
    """
    head = f"{_FREE_DIGITS}; exec({prelude!r})" if prelude else _FREE_DIGITS
    future = "".join(f"{line}\n" for line in _FUTURE.findall(code))
    return f"{future}{head}\n{_FUTURE.sub('pass', code)}"


def without_exit_code(program: str) -> str:
    """Return a program that ends with exit code 0 wherever it ends itself.

    LiveCodeBench's judge looks at what was printed by then, whatever the code is.
    """
    run = f"exec(compile({program!r}, '<program>', 'exec'), globals())"
    return f"try:\n    {run}\nexcept SystemExit:\n    pass"
