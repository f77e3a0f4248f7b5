"""LiveBench's coding: LCB_generation and coding_completion, both judged as LiveCodeBench does.

For evaluation only: a pass of every test is what a reward asks too, and `CodeGrader` can pay for
it, but these few hidden tests are the benchmark's.
"""

import re
from collections.abc import Mapping
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.code.problem import CodeProblem
from qwq_env.grading.code.rows import json_of, read_problem
from qwq_env.grading.score import Score

__all__ = ["claimed_program", "grade_program", "program_problem"]

_FENCE = "```"
_BACKQUOTES = re.compile("`{3,}")


async def grade_program(grader: CodeGrader, question: Mapping[str, Any], answer: str) -> Score:
    """Right if the program passes every test, public and private, within six seconds each.

    `grader` must compare numbers as LiveCodeBench does, and pay for all tests or nothing.
    """
    program = claimed_program(answer, question.get("partial_solution") or "")
    # A fence that is longer than any in the program, so that it is taken as it is.
    fence = max([_FENCE, *(run + "`" for run in _BACKQUOTES.findall(program))], key=len)
    return await grader.grade(program_problem(question), f"{fence}python\n{program}\n{fence}")


def claimed_program(answer: str, beginning: str = "") -> str:
    """The lines between the last two lines with a fence; `beginning` is put before, if it is not.

    Without two fences the whole answer is the program, less a lone fence at its end or a single
    pair of backquotes around it.
    """
    lines = answer.rstrip().split("\n")
    fences = [place for place, line in enumerate(lines) if _FENCE in line]
    if len(fences) >= 2:
        program = "\n".join(lines[fences[-2] + 1 : fences[-1]])
    elif len(answer) > 1 and answer[0] == answer[-1] == "`":
        program = answer[1:-1]
    elif fences == [len(lines) - 1]:
        program = "\n".join(lines[:-1])
    else:
        program = answer.rstrip()
    return program if program.startswith(beginning) else f"{beginning}\n{program}"


def program_problem(question: Mapping[str, Any]) -> CodeProblem:
    """The tests of a question. Raises `UsageError` where they cannot be used."""
    original = json_of(question.get("original_json") or "{}", "original_json")
    if not isinstance(original, Mapping):
        raise UsageError("original_json: expected an object with `metadata`")
    return read_problem({**question, "metadata": original.get("metadata") or "{}"})
