"""Code: a program against tests whose expected outputs never reach the program.

`CodeGrader` runs the tests in a sandbox and compares outside; `read_problem` reads the row forms
in which code tasks are published.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from qwq_env.errors import UsageError
from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.problem import CallTest, CodeProblem, Script, StdinTest
from qwq_env.grading.code.rows import read_problem
from qwq_env.grading.score import Score

__all__ = [
    "CallTest",
    "CodeGrader",
    "CodeProblem",
    "Script",
    "StdinTest",
    "check_row",
    "grade_row",
    "read_problem",
]


async def grade_row(row: Mapping[str, Any]) -> Score:
    """The score of a row of any form that `read_problem` reads, with the model's `response`.

    Raises `UsageError` for a malformed row.
    """
    return await _grader().grade(*_read(row))


def check_row(row: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless the row has tests that can be used and a `response` of text."""
    _read(row)


def _read(row: Mapping[str, Any]) -> tuple[CodeProblem, str]:
    response = row.get("response")
    if not isinstance(response, str):
        raise UsageError(f"response: {response!r:.80}; expected a text")
    return read_problem(row), response


# A sandbox belongs to the event loop in which it began.
_graders: WeakKeyDictionary[asyncio.AbstractEventLoop, CodeGrader] = WeakKeyDictionary()


def _grader() -> CodeGrader:
    from qwq_env.sandbox import LocalSandbox  # noqa: PLC0415 - grading starts without a sandbox

    loop = asyncio.get_running_loop()
    if loop not in _graders:
        _graders[loop] = CodeGrader(LocalSandbox())
    return _graders[loop]
