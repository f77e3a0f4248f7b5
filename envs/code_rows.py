"""Published code tasks as tasks: what is asked, a solution if there is one, and the tests.

All forms that `qwq_env.grading.code` reads, and the columns in which they keep the rest:

| form | what is asked | a solution |
|---|---|---|
| LiveCodeBench | `question_content`, `starter_code` | |
| APPS, TACO | `question`, `starter_code` | `solutions` |
| PRIME, verl | `prompt`: a text or messages | |
| DeepCoder | `problem`, `starter_code` | `solutions` |
| open-r1 | `problem`, `question` or `prompt` | `gold_standard_solution` |
| Codeforces (open-r1) | `description`, `input_format`, `output_format`, `examples` | |
| CodeContests | `description` | `solutions` |
| AceCode, KodCode | `question` | `solution` |
| HumanEval | `prompt`: the beginning of the program | `canonical_solution` |
| LeetCodeDataset | `query` or `problem_description`, `starter_code` | `completion` |
| MBPP | `text` or `prompt`, and the first assertion | `code` |
| the house's own | `prompt` | `solution` |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.grading.code.fences import program_of
from qwq_env.grading.code.problem import CallTest, CodeProblem, Script
from qwq_env.grading.code.public import check_hidden, read_public
from qwq_env.grading.code.rows import read_problem
from qwq_env.task import Task, prompted_row
from qwq_env.text.python import parse_python

INSTRUCTION: Final = "\nEnd your answer with the whole program in one ```python block."
"""What closes every prompt: the last such block is what is graded."""

_QUESTIONS: Final = (
    "question_content", "query", "problem_description", "problem", "question", "description",
    "text", "prompt",
)  # fmt: skip

_SECTIONS: Final = {"input_format": "Input", "output_format": "Output", "note": "Note"}
_IDENTITIES: Final = ("id", "task_id", "question_id")
_SOLUTIONS: Final = ("code", "completion", "gold_standard_solution", "solution")
_MOST_SOLUTIONS: Final = 20


def code_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read a row of any form above: `Task.answer` is a program that solves it, "" if it has none.

    `metadata` is the row, without its `solutions`, from which the tests are read again. Raises
    `UsageError` for a row of no known form (columns found, columns wanted, the nearest form),
    without a question, or without a test that stays hidden.
    """
    problem, public = read_problem(row), read_public(row)
    check_hidden(problem, public)
    identity = next((str(row[name]) for name in _IDENTITIES if row.get(name) is not None), task_id)
    metadata = {name: value for name, value in row.items() if name != "solutions"}
    if "entry_point" in row and _is_code(row.get("prompt")) and not row.get("query"):
        prompt = f"Complete this program.\n{fenced(row['prompt'])}\n{INSTRUCTION}"
        return Task(identity, prompt, _solution(row), metadata=metadata)
    question = _question(row)
    if isinstance(question, list):
        asked = prompted_row({"prompt": question, "id": identity}, task_id)
        return replace(asked, answer=_solution(row), metadata=metadata)
    told = _how(problem, public if "test_list" in row or "test_cases" in row else None)
    starter = row.get("starter_code")
    begun = f"\n\nBegin with this:\n{fenced(str(starter))}" if _is_text(starter) else ""
    prompt = f"{question.strip()}{_sections(row)}{begun}\n\n{told}{INSTRUCTION}"
    return Task(identity, prompt, _solution(row), metadata=metadata)


def fenced(program: str) -> str:
    """Return a program in a block of Python, whose fence is longer than any within."""
    ticks = "```"
    while ticks in program:
        ticks += "`"
    body = program.strip("\n")
    return f"{ticks}python\n{body}\n{ticks}"


def _question(row: Mapping[str, Any]) -> Any:
    for name in _QUESTIONS:
        value = row.get(name)
        if _is_text(value) or (name == "prompt" and isinstance(value, list) and value):
            return value
    found = ", ".join(map(str, row))
    raise UsageError(f"columns: {found:.300}; expected a question: {', '.join(_QUESTIONS)}")


def _sections(row: Mapping[str, Any]) -> str:
    """Return the parts of a statement that Codeforces keeps in columns of their own."""
    told = [
        f"\n\n{title}\n{row[name]}" for name, title in _SECTIONS.items() if _is_text(row.get(name))
    ]
    examples = row.get("examples") if "official_tests" in row else None
    for each in examples if isinstance(examples, list) else ():
        if isinstance(each, Mapping):
            told.append(f"\n\nExample\n{each.get('input')}\ngives\n{each.get('output')}")
    return "".join(told)


def _how(problem: CodeProblem, shown: CodeProblem | None) -> str:
    """Say what the tests call, or that they use the standard streams."""
    first = problem.tests[0]
    if isinstance(first, CallTest):
        names = sorted({test.function for test in problem.tests if isinstance(test, CallTest)})
    elif isinstance(first, Script):
        names = list(first.functions)
    else:
        return "The program reads its standard input and prints to its standard output."
    asked = f"It has to define {' and '.join(f'`{name}`' for name in names)}."
    example = shown.tests[0] if shown else None
    if isinstance(example, Script):
        return f"{asked} It has to pass, among others:\n{example.sources[1]}"
    if isinstance(example, CallTest):
        arguments = ", ".join(map(repr, example.arguments))
        expected = getattr(example.check, "expected", None)
        return f"{asked} Among others, `{example.function}({arguments})` is {expected!r}."
    return asked


def _solution(row: Mapping[str, Any]) -> str:
    """Return the first solution of a row that is Python, "" if there is none."""
    if _is_text(ending := row.get("canonical_solution")):
        return f"{row.get('prompt') or ''}{ending}"
    for text in _candidates(row):
        program = program_of(text) or text
        if _is_code(program):
            return program
    return ""


def _candidates(row: Mapping[str, Any]) -> Iterator[str]:
    for name in _SOLUTIONS:
        if _is_text(row.get(name)):
            yield row[name]
    several = row.get("solutions")
    if isinstance(several, str):
        try:
            several = json.loads(several)
        except (ValueError, RecursionError):
            return
    if isinstance(several, Mapping):  # CodeContests, with their languages beside them
        several = several.get("solution")
    for each in several[:_MOST_SOLUTIONS] if isinstance(several, list) else ():
        if _is_text(each):
            yield each


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_code(text: Any) -> bool:
    if not _is_text(text):
        return False
    try:
        return bool(parse_python(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def check_task(task: Task) -> None:
    """Raise `UsageError` for a task of a set that cannot be graded."""
    try:
        check_hidden(read_problem(task.metadata), read_public(task.metadata))
    except UsageError as error:
        raise UsageError(f"task {brief(task.id)[1:-1]}: {error}") from None
