"""LiveBench's two coding tasks: which program is claimed, and that its hidden tests decide."""

from __future__ import annotations

import pytest

from qwq_env.grading.code import CodeGrader
from qwq_env.grading.livebench import LiveBenchGrader
from qwq_env.grading.livebench.coding import claimed_program
from qwq_env.sandbox import LocalSandbox

from .asked import TASKS, question

SUM = "print(sum(map(int, input().split())))"
NARROW = "print(5 if input() == '2 3' else 1)"


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("```python\na = 1\n```\nor\n```python\nb = 2\n```\nDone.", "b = 2"),
        ("```\na = 1\n```\n", "a = 1"),
        ("`a = 1`", "a = 1"),
        ("a = 1\n```", "a = 1"),
        ("a = 1\n\n", "a = 1"),
        ("", ""),
    ],
)
def test_the_program_stands_between_the_last_two_fences(answer, program):
    assert claimed_program(answer) == program


def test_a_beginning_is_put_before_what_does_not_begin_with_it():
    assert claimed_program("return 2 * n", "def twice(n):") == "def twice(n):\nreturn 2 * n"
    assert claimed_program("def twice(n): ...", "def twice(n):") == "def twice(n): ..."


async def test_programs_are_run_on_public_and_hidden_tests():
    asked = {task: question(task) for task in TASKS if question(task)["category"] == "coding"}
    asked["lost"] = question("LCB_generation", private_test_cases="no archive")
    answers = [
        ("LCB_generation", f"<think>```1```</think>So:\n```python\n{SUM}\n```", 1.0),
        ("LCB_generation", f"```python\n{NARROW}\n```", 0.0),
        ("LCB_generation", f'```python\ns = """\n````"""\n{SUM}', 0.0),
        ("LCB_generation", "", 0.0),
        ("coding_completion", "        return 2 * n", 1.0),
        ("coding_completion", "        return n + 2", 0.0),
        ("lost", f"```python\n{SUM}\n```", None),
    ]
    async with LocalSandbox() as sandbox:
        grader = LiveBenchGrader(asked, code=CodeGrader(sandbox, numbers="livecodebench"))
        scores = [await grader.grade(identity, answer) for identity, answer, _ in answers]

    assert [score.value for score in scores] == [wanted for *_, wanted in answers]
    assert scores[-1].reason == "unusable_question"
