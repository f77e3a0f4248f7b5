"""Python text as a tree, from any thread and without a warning.

CPython counts the depth of the tree that it builds in one place for all threads: two that parse at
once fail with "SystemError: AST constructor recursion depth mismatch" (python/cpython#106905, in
3.11 up to 3.11.7 and in 3.12.0). The filters of warnings are of the whole process, too.
"""

from __future__ import annotations

import ast
import threading
import warnings
from typing import Any, Final, Literal, overload

_ONE_AT_A_TIME: Final = threading.RLock()
_TRIES: Final = 3  # another library's thread may parse at the same time


@overload
def parse_python(source: str) -> ast.Module: ...
@overload
def parse_python(source: str, mode: Literal["eval"]) -> ast.Expression: ...


def parse_python(source: str, mode: str = "exec") -> Any:
    """The tree of a program, or of one expression.

    Raises SyntaxError, ValueError, TypeError, RecursionError or MemoryError for what is no Python.
    """
    for left in reversed(range(_TRIES)):
        try:
            with _ONE_AT_A_TIME, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "\d" in a model's string is not ours to mend
                return ast.parse(source, mode=mode)
        except SystemError:
            if not left:
                raise
    raise AssertionError("each try returns or raises")


def read_literal(text: str) -> Any:
    """The value that a literal of Python writes out; raises what `parse_python` raises."""
    return ast.literal_eval(parse_python(text.lstrip(" \t"), "eval"))
