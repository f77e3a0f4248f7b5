"""Code: a program against tests whose expected outputs never reach the program.

`CodeGrader` runs the tests in a sandbox and compares outside; `read_problem` reads the row forms
in which code tasks are published.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.problem import CallTest, CodeProblem, StdinTest
from qwq_env.grading.code.rows import read_problem
from qwq_env.grading.score import Score

__all__ = ["CallTest", "CodeGrader", "CodeProblem", "StdinTest", "grade_row", "read_problem"]


async def grade_row(row: Mapping[str, Any]) -> Score:
    """The score of a row of any form that `read_problem` reads, with the model's `response`."""
    return await _grader().grade(read_problem(row), row["response"])


@lru_cache(maxsize=1)
def _grader() -> CodeGrader:
    from qwq_env.sandbox import LocalSandbox  # noqa: PLC0415 - grading starts without a sandbox

    return CodeGrader(LocalSandbox())
