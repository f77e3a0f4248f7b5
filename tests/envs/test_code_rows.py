"""Published code rows as tasks: what is asked, what is public, what is hidden, what solves it."""

from __future__ import annotations

import json

import pytest

from qwq_env import portal
from qwq_env.envs.code import CodeToolEnv, PublicTests
from qwq_env.envs.code_rows import code_row, fenced
from qwq_env.errors import UsageError
from qwq_env.grading.code import CallTest, Script, StdinTest, read_problem
from qwq_env.grading.code.public import read_public
from qwq_env.toolbox import Toolbox
from qwq_env.turn import ToolCall

from ..published import _WHOLE

ADD = "def add(a, b):\n    return a + b\n"
DOUBLE = "print(2 * int(input()))"
CALLS = {"fn_name": "add", "inputs": [[1, 2], [5, 5]], "outputs": [3, 10]}
LINES = {"inputs": ["4\n", "7\n"], "outputs": ["8\n", "14\n"]}
CASES = [{"input": each, "output": f"{2 * int(each)}"} for each in ("4", "7", "9")]
ASSERTS = ["assert add(1, 2) == 3", "assert add(5, 5) == 10", "assert add(0, 0) == 0"]

ROWS = {
    "own, labelled": (
        {"prompt": "Add.", "solution": ADD, "tests": [
            {"function": "add", "arguments": [0, 0], "expected": 0},
            {"function": "add", "arguments": [1, 2], "expected": 3, "public": True}]},
        [(1, 2)],
    ),
    "own": (
        {"prompt": "Double.", "solution": f"Like so:\n{fenced(DOUBLE)}", "tests": CASES},
        ["4"],
    ),
    "LiveCodeBench": (
        {"question_content": "Add.", "starter_code": "class Solution:\n    def add(self, a, b):",
         "question_id": "q7", "metadata": json.dumps({"func_name": "add"}),
         "public_test_cases": json.dumps([
             {"input": "1\n2", "output": "3", "testtype": "functional"},
             {"input": "5\n5", "output": "10", "testtype": "functional"}]),
         "private_test_cases": json.dumps(
             [{"input": "0\n0", "output": "0", "testtype": "functional"}])},
        [(1, 2), (5, 5)],
    ),
    "APPS": (
        {"question": "Double.", "input_output": json.dumps(LINES), "starter_code": "",
         "solutions": json.dumps(["print 2", DOUBLE])},
        ["4\n"],
    ),
    "TACO": (
        {"question": "Add.", "input_output": json.dumps(CALLS), "solutions": [ADD]},
        [(1, 2)],
    ),
    "PRIME": (
        {"prompt": [{"role": "user", "content": "Double."}],
         "reward_model": {"style": "rule", "ground_truth": json.dumps(LINES)}},
        ["4\n"],
    ),
    "DeepCoder": (
        {"problem": "Add.", "solutions": [fenced(ADD)], "tests": json.dumps(
            [{"type": "function_call", "fn_name": "add", "input": given, "output": [wanted]}
             for given, wanted in [([1, 2], 3), ([5, 5], 10)]])},
        [(1, 2)],
    ),
    "open-r1": (
        {"problem": "Double.", "gold_standard_solution": fenced(DOUBLE),
         "verification_info": {"language": "python", "test_cases": CASES}},
        ["4"],
    ),
    "Codeforces": (
        {"description": "Double.", "input_format": "One number.", "examples": CASES[:2],
         "official_tests": CASES, "time_limit": 1.0},
        ["4", "7"],
    ),
    "CodeContests": (
        {"description": "Double.", "public_tests": {"input": ["4"], "output": ["8"]},
         "private_tests": {"input": ["7"], "output": ["14"]},
         "solutions": {"language": [2, 3], "solution": ["int main() {}", DOUBLE]}},
        ["4"],
    ),
    "AceCode": ({"question": "Add.", "test_cases": ASSERTS}, [(1, 2)]),
    "KodCode": (
        {"question": "Add.", "solution": ADD, "test_info": [{"function_name": "add"}],
         "test": "from solution import add\ndef test_add():\n    assert add(1, 2) == 3\n"},
        None,
    ),
    "HumanEval": (
        {"task_id": "HumanEval/x", "entry_point": "add", "canonical_solution": "    return a + b\n",
         "test": "def check(candidate):\n    assert candidate(0, 0) == 0\n",
         "prompt": 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n'
         '    add(2, 2) ➞ 4\n    add(-1, 1) should return 0.\n    add(a, 0) == a\n    """\n'},
        [(1, 2), (2, 2), (-1, 1)],
    ),
    "LeetCode": (
        {"query": "Add.", "prompt": "import math", "entry_point": "Solution().add",
         "completion": "class Solution:\n    def add(self, a, b):\n        return a + b",
         "test": "def check(candidate):\n    assert candidate(a=1, b=2) == 3\n"},
        None,
    ),
    "MBPP": ({"text": "Add.", "code": ADD, "task_id": 7, "test_list": ASSERTS}, [(1, 2)]),
    "MBPP+": (
        {"prompt": "Add.", "code": ADD, "test_list": ASSERTS,
         "test": "for n in range(3):\n    assert add(n, n) == 2 * n"},
        [(1, 2)],
    ),
}  # fmt: skip


def inputs_of(problem) -> list:
    return [t.arguments if isinstance(t, CallTest) else t.input for t in problem.tests]


@pytest.mark.parametrize("form", ROWS)
def test_a_row_shows_its_public_tests_and_keeps_the_rest(form) -> None:
    row, public = ROWS[form]
    problem, shown = read_problem(row), read_public(row)

    assert (None if shown is None else inputs_of(shown)) == public
    hidden = [] if isinstance(problem.tests[0], Script) else inputs_of(problem)
    assert not hidden or set(map(repr, hidden)) > set(map(repr, public))


@pytest.mark.parametrize("form", ROWS)
def test_a_row_is_asked_and_solved(form, tmp_path) -> None:
    row, _ = ROWS[form]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    env = CodeToolEnv(file, strict=True)
    task = env.tasks.task(0)
    prompt, _ = env.reset(options={"index": 0})

    assert ("Add." in prompt) != ("Double." in prompt)
    assert form == "PRIME" or "```python block" in prompt
    calls = form not in ("PRIME", "HumanEval") and not isinstance(
        read_problem(row).tests[0], StdinTest
    )
    assert not calls or "It has to define `" in prompt
    if not (turns := env.solve(task)):
        assert form in ("LiveCodeBench", "PRIME", "Codeforces", "AceCode")
        turns = [{"role": "assistant", "content": fenced(ADD if "Add." in prompt else DOUBLE)}]
    *_, (_, reward, terminated, _, _) = [env.step(turn) for turn in turns]
    env.close()

    assert (reward, terminated) == (1.0, True)


def test_a_definition_in_a_docstring_is_no_example() -> None:
    told = '"""Give the numbers f(0) to f(n): f(0) = 1,\n    f(1) = 2\n    f(n) = n.\n\n    %s"""'
    row = {**ROWS["HumanEval"][0], "entry_point": "f"}

    def read(example: str) -> list:
        return inputs_of(read_public({**row, "prompt": f"def f(n):\n    {told % example}"}))

    assert read("f(2) = [1, 2, 2]") == [(2,)]
    assert read("f(2) == [1, 2, 2]") == [(1,), (2,)]


def test_the_first_assertion_is_in_the_prompt_and_the_others_are_not() -> None:
    task = code_row(ROWS["MBPP"][0], "x")

    assert task.id == "7"
    assert "`add(1, 2)` is 3" in task.prompt
    assert "add(5, 5)" not in task.prompt


@pytest.mark.parametrize(
    ("first", "program", "shown"),
    [
        ("assert set(add(1, 2)) == {3}", "def add(a, b): return [4]", "got: something else"),
        ("assert set(add(1, 2)) == {3}", "def add(a, b): return [3]", "All 1 public tests"),
        ("assert add(1, 2) == (3, 4)", "def add(a, b): return [3, 4]", "got: [3, 4]"),
        ("assert add(1, b=2) == 3", "def add(a, b): 1 / 0", "got: ZeroDivisionError"),
        ("assert add(1, b=2) == 3", "import os\nos._exit(0)", "ended before the test"),
        (
            "assert add(1, b=2) == 3",
            "from __future__ import annotations\ndef add(a, b): return a + b",
            "All 1 public tests passed",
        ),
    ],
)
def test_an_assertion_is_run_as_it_is_written(first, program, shown) -> None:
    task = code_row({"text": "Add.", "test_list": [first, *ASSERTS[1:]]}, "x")

    async def result() -> str:
        toolbox = Toolbox([PublicTests], task=task)
        [found] = await toolbox.run([ToolCall("run_tests", {"code": program})])
        await toolbox.aclose()
        return found.content

    assert shown in portal.run(result())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"instruction": "Add.", "output": ADD},
            ["has 'instruction, output'", "MBPP", "LiveCodeBench"],
        ),
        ({"question": "Add.", "private_test_cases": "[]", "metadata": "{}"}, ["expected tests in"]),
        ({"prompt": "Add.", "test": "assert 1"}, ["nearest HumanEval, which lacks entry_point"]),
        ({"test_list": ASSERTS}, ["columns: test_list", "expected a question", "question_content"]),
        ({"prompt": "Add.", "tests": [{"input": "1", "output": "2", "public": True}]}, ["public"]),
        (
            {"question_content": "x", "public_test_cases": json.dumps(CASES)},
            ["all of them are public; expected some that are hidden"],
        ),
        ({"prompt": "x", "input_output": "{"}, ["input_output: not JSON"]),
        ({"prompt": "x", "tests": 3}, ["tests: expected a list"]),
        ({"prompt": ["x"], "tests": CASES}, ["expected messages with role and content"]),
    ],
)
def test_another_schema_is_told(row, words, tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: ") as caught:
        CodeToolEnv(file)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("odd", [None, 3, "x", [], {}, [3], {"inputs": 3}, [[]]], ids=repr)
def test_columns_of_the_wrong_kind_are_refused_and_never_a_crash(form, odd) -> None:
    row, _ = ROWS[form]
    for column in row:
        try:
            task = code_row({**row, column: odd}, "x")
        except UsageError as error:
            assert "\n" not in str(error)
        else:
            assert isinstance(task.prompt, str)
            assert isinstance(task.answer, str)


@pytest.mark.skipif(not (_WHOLE / "data/humaneval").exists(), reason="not beside the checkout")
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_whole_data_sets_are_read() -> None:
    env = CodeToolEnv(_WHOLE / "data/humaneval/HumanEval.jsonl", strict=True)
    rows = json.loads((_WHOLE / "data/mbpp/sanitized-mbpp.json").read_text())
    shown = [read_public(task.metadata) for task in env.tasks]

    assert env.tasks.size == 164
    assert sum(problem is not None for problem in shown) > 130
    assert all(env.solve(task) for task in env.tasks)
    assert all(code_row(row, "x").answer for row in rows)
