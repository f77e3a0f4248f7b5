"""`qwq/CodeTool-v0`: what it asks, what it shows, what it pays."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import random
from collections import Counter

import gymnasium as gym
import pytest

from qwq_env import portal
from qwq_env.envs.code import CodeToolEnv, HiddenTests, PublicTests
from qwq_env.envs.code_functions import FunctionTaskSet
from qwq_env.envs.code_operations import OPERATIONS, applied
from qwq_env.envs.code_rows import fenced
from qwq_env.errors import UsageError
from qwq_env.rubric import FinalTurn
from qwq_env.sandbox import LocalSandbox, Sandbox
from qwq_env.sandbox.errors import SandboxUnavailable
from qwq_env.schema.sample import sample_arguments
from qwq_env.task import ListTaskSet, Task
from qwq_env.toolbox import Toolbox
from qwq_env.turn import ToolCall

THOUGHT = "So.\n</think>\n\n"


TESTS = [
    {"function": "add", "arguments": [1, 2], "expected": 3, "public": True},
    {"function": "add", "arguments": [5, 5], "expected": 10, "public": True},
    {"function": "add", "arguments": [400000123, 40000], "expected": 400040123},
    {"function": "add", "arguments": [-7, 7], "expected": 0},
]
ADD = Task("add", "Add two numbers.", "def add(a, b): return a + b", metadata={"tests": TESTS})
ECHO = Task(
    "echo",
    "Print the number that you read, doubled.",
    "print(2 * int(input()))",
    metadata={"tests": [{"input": f"{n}\n", "output": f"{2 * n}"} for n in (4, 7, 90)]},
)
TASKS = ListTaskSet([ADD, ECHO])


@pytest.fixture(scope="module")
def env():
    made = CodeToolEnv(TASKS)
    yield made
    made.close()


def ended(env: CodeToolEnv, answer: str, task_id: str = "add") -> tuple[float, str]:
    env.reset(options={"task_id": task_id})
    _, reward, terminated, _, info = env.step(THOUGHT + answer)

    assert terminated
    return reward, info["reward_reasons"]["tests"]


def graded(task: Task, program: str) -> float | None:
    final = FinalTurn(task, fenced(program), ())

    async def grade():
        return await HiddenTests()(final)

    return portal.run(grade()).value


@pytest.mark.parametrize(
    ("task_id", "answer", "reward", "reason"),
    [
        ("add", fenced(ADD.answer), 1.0, "passed"),
        ("echo", fenced(ECHO.answer), 1.0, "passed"),
        ("add", fenced("def add(a, b): return abs(a) + abs(b)"), 0.0, "wrong_answer"),
        ("echo", fenced("print({4: 8, 7: 14}[int(input())])"), 0.0, "runtime_error"),
        ("add", f"{fenced(ADD.answer)}\nor rather\n{fenced('def add(a, b): 0')}", 0.0, None),
        ("add", ADD.answer, 0.0, "no_code"),
        ("add", "", 0.0, "no_code"),
        ("add", fenced("def add(a, b) return"), 0.0, "runtime_error"),
        ("add", fenced("# \ud800"), 0.0, "no_code"),
    ],
)
def test_the_last_block_is_paid_if_every_test_passes(env, task_id, answer, reward, reason):
    given, why = ended(env, answer, task_id)

    assert given == reward
    assert reason in (why, None)


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_what_solves_a_task_is_paid(difficulty, split):
    env = CodeToolEnv(difficulty=difficulty, split=split)
    for index in range(3):
        env.reset(options={"index": index})
        tries, last = env.solve(env.episode.task)
        _, _, terminated, _, info = env.step(tries)
        assert (terminated, info["results"][0]["status"]) == (False, "ok")
        assert info["results"][0]["content"] == "All 3 public tests passed."
        assert env.step(last)[1] == 1.0
    env.close()


def name_of(task: Task) -> str:
    return task.metadata["tests"][0]["function"]


def shown(task: Task) -> list[dict]:
    return [test for test in task.metadata["tests"] if "public" in test]


def body_of(task: Task) -> str:
    return task.answer.partition("\n")[2]


def memorised(task: Task) -> str:
    known = {
        repr(t["arguments"][0]): t["expected"] for t in task.metadata["tests"] if "public" in t
    }
    return f"def {name_of(task)}(x): return {known!r}.get(repr(x))"


ANY = """
class Any(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
"""
CHEATS = {
    "empty": lambda task: "pass",
    "nothing": lambda task: f"def {name_of(task)}(x): pass",
    "the same": lambda task: f"def {name_of(task)}(x): return x",
    "prints": lambda task: "".join(f"print({t['expected']!r})\n" for t in shown(task)),
    "memorises": memorised,
    "a constant": lambda task: (
        f"def {name_of(task)}(x): return {task.metadata['tests'][3]['expected']!r}"
    ),
    "leaves": lambda task: "import os\nos._exit(0)",
    "leaves when called": lambda task: f"import os\ndef {name_of(task)}(x): os._exit(0)",
    "exits": lambda task: "raise SystemExit",
    "exits when called": lambda task: f"def {name_of(task)}(x): raise SystemExit(0)",
    "equals everything": lambda task: f"{ANY}\ndef {name_of(task)}(x): return Any()",
    "changes builtins": lambda task: (
        "import builtins\nbuiltins.all = builtins.any = builtins.isinstance = lambda *a: True\n"
        f"def {name_of(task)}(x): return 1"
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_program_that_solves_nothing_is_not_paid(cheat):
    tasks = [FunctionTaskSet(difficulty=d, seed=5).task(i) for d in (1, 2, 3) for i in range(3)]
    paid = [graded(task, CHEATS[cheat](task)) for task in tasks]

    assert None not in paid
    assert sum(paid) / len(paid) < 0.05


def test_an_operation_that_is_left_out_is_not_paid():
    tasks = [FunctionTaskSet(difficulty=3).task(index) for index in range(4)]
    for task in tasks:
        first, *lines = task.answer.split("\n")
        fewer = "\n".join([first, *lines[1:]])

        assert graded(task, fewer) == 0.0


async def run_public(code: str, task: Task = ADD):
    toolbox = Toolbox([PublicTests], task=task)
    [result] = await toolbox.run([ToolCall("run_tests", {"code": code})])
    await toolbox.aclose()
    return result


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("task", "code", "parts"),
    [
        (ADD, ADD.answer, ["All 2 public tests passed."]),
        (ADD, fenced(ADD.answer), ["All 2 public tests passed."]),
        (ADD, "def add(a, b): return a * b", ["2 of 2", "add(5, 5)", "expected: 10", "got: 25"]),
        (ADD, "def add(a, b): return 3", ["1 of 2 public tests failed.\ntest 2:", "got: 3"]),
        (ADD, "def add(a, b): return 1 / 0", ["ZeroDivisionError"]),
        (ADD, "def add(a, b) return", ["while loading", "SyntaxError"]),
        (ADD, "x = 1", ["add"]),
        (ADD, "import os\nos._exit(0)", ["2 of 2"]),
        (ADD, "def add(a, b): return 'x' * 100_000", ["xxx..."]),
        (ADD, "def add(a, b): return lambda: 0", ["no plain value"]),
        (ADD, "# \ud800", ["half of a surrogate pair"]),
        (ECHO, ECHO.answer, ["All 1 public tests passed."]),
        (ECHO, "print(input())", ["input: 4", "expected: 8", "got: 4"]),
        (ECHO, "print('a\\nb')", ["got:\na\nb"]),
        (ECHO, "", ["the code is empty"]),
        (ECHO, "pass", ["got: nothing"]),
        (ECHO, "int('x')", ["ValueError: invalid literal"]),
    ],
)
async def test_what_run_tests_shows(task, code, parts):
    result = await run_public(code, task)

    assert all(each in result.content for each in parts), result.content
    assert len(result.content) < 2000
    assert "400040123" not in result.content
    assert result.kind != "crash"


@pytest.mark.asyncio
async def test_a_program_that_hangs_is_told_and_no_test_begins_late(monkeypatch):
    from qwq_env.grading.code import report

    monkeypatch.setattr(report, "_MOST_SECONDS", 0.2)
    monkeypatch.setattr(report, "_TOGETHER_SECONDS", 0.1)
    result = await run_public("def add(a, b):\n    while True: pass")

    assert "timeout, longer than 0.2 seconds" in result.content
    assert "(1 were not run)" in result.content


@pytest.mark.asyncio
async def test_a_task_without_public_tests_says_so():
    task = Task("t", "Add.", "", metadata={"tests": TESTS[2:3]})

    assert "no public tests" in (await run_public("x = 1", task)).content


def test_a_failed_public_test_is_the_next_message():
    env = CodeToolEnv(TASKS, feedback=True, attempts=2)
    env.reset(options={"task_id": "add"})
    wrong = fenced("def add(a, b): return a * b")
    observation, _, terminated, _, info = env.step(THOUGHT + wrong)
    assert not terminated
    assert "input: add(1, 2)" in observation
    assert info["messages"][-1]["role"] == "user"
    observation, _, terminated, _, _ = env.step(THOUGHT + "I see.")
    assert not terminated
    assert "```python block" in observation
    _, reward, terminated, _, _ = env.step(THOUGHT + wrong)
    env.close()

    assert (reward, terminated) == (0.0, True)


@pytest.mark.parametrize("feedback", [True, False])
def test_an_answer_that_passes_the_public_tests_is_graded_at_once(feedback):
    env = CodeToolEnv(TASKS, feedback=feedback)
    answers = (fenced(ADD.answer), fenced("def add(a, b): return abs(a) + abs(b)"))
    paid = [ended(env, answer)[0] for answer in answers]
    env.close()

    assert paid == [1.0, 0.0]


def test_hidden_tests_and_the_solution_are_nowhere_in_what_the_model_reads(env):
    prompt, info = env.reset(options={"task_id": "add"})
    search = (
        "import gc, os, sys\n"
        "seen = repr(gc.get_objects()) + repr(dict(os.environ)) + repr(sys.argv)\n"
        "print('321040004'[::-1] in seen, 'b + a nruter'[::-1] in seen)"
    )
    arguments = {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "run_tests", "arguments": {"code": "def add(a, b): return a"}}},
        {"function": {"name": "python", "arguments": {"code": search}}},
    ]}  # fmt: skip
    observation, *_ = env.step(arguments)

    assert "False False" in observation
    for text in (prompt, json.dumps(info["tools"]), observation):
        assert "400040123" not in text
        assert "return a + b" not in text


def test_random_policies_raise_nothing():
    env = CodeToolEnv(feedback=True, attempts=1)
    env.action_space.seed(1)
    chance = random.Random(1)
    programs = ["x", "def adapt(x): return x", "import os; os._exit(1)", "raise SystemExit"]
    tests = next(tool for tool in env.settings.tools if tool.name == "run_tests")
    for number in range(100):
        env.reset(seed=number)
        ending = False
        while not ending:
            code = sample_arguments(tests.parameters, chance, programs)["code"]
            call = {"function": {"name": chance.choice(["run_tests", "tests"]), "arguments": code}}
            turn = chance.choice([
                env.action_space.sample(),
                THOUGHT + env.action_space.sample(),
                THOUGHT + fenced(code),
                {"role": "assistant", "content": None, "tool_calls": [call]},
            ])  # fmt: skip
            _, reward, terminated, truncated, _ = env.step(turn)
            ending = terminated or truncated
            assert reward in (0.0, 1.0)
    env.close()


def test_it_is_graded_from_any_event_loop():
    for _ in range(2):
        final = FinalTurn(ADD, fenced(ADD.answer), ())
        assert asyncio.run(HiddenTests()(final)).value == 1.0


@pytest.mark.asyncio
async def test_a_sandbox_of_ones_own_runs_everything():
    async with LocalSandbox() as sandbox:
        env = CodeToolEnv(TASKS, sandbox=sandbox, feedback=True)
        await env.areset(options={"task_id": "add"})
        turns = env.solve(ADD)
        look = {"function": {"name": "python", "arguments": {"code": "6 * 7"}}}
        turns[0]["tool_calls"].append(look)
        _, _, _, _, info = await env.astep(turns[0])
        _, reward, *_ = await env.astep(turns[1])

    assert [result["content"] for result in info["results"]] == [
        "All 2 public tests passed.",
        "42",
    ]
    assert reward == 1.0


class Gone(Sandbox):
    """A sandbox that is not there."""

    async def run(self, *arguments, **named):
        raise SandboxUnavailable("gone")

    call = open_session = aclose = run


@pytest.mark.parametrize("feedback", [True, False])
def test_a_sandbox_that_fails_loses_the_episode(feedback):
    env = CodeToolEnv(TASKS, sandbox=Gone(), feedback=feedback)
    env.reset(options={"task_id": "add"})
    _, reward, terminated, _, info = env.step(THOUGHT + fenced("def add(a, b): return 0"))

    assert math.isnan(reward)
    assert terminated
    assert info["outcome"]["kind"] == "failed"


def test_it_is_pickled():
    env = pickle.loads(pickle.dumps(CodeToolEnv(feedback=True)))
    env.reset(options={"index": 0})

    assert env.step(env.solve(env.episode.task)[1])[1] == 1.0
    env.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"attempts": 0}, "attempts: 0; expected a whole number above 0"),
        ({"feedback": "yes"}, "feedback: 'yes'; expected True or False"),
        ({"difficulty": 4}, "difficulty: 4; expected 1 to 3"),
        ({"split": "test"}, "split: 'test' is not known"),
        ({"tools": ["run_test"]}, "did you mean 'run_tests'"),
        ({"tools": "python"}, "expected a list"),
        ({"tasks": "function"}, "expected 'functions', a .jsonl path"),
        ({"tasks": ListTaskSet([Task("t", "x", "")])}, "task t: row: has"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        CodeToolEnv(**arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize("pattern", OPERATIONS, ids=lambda pattern: pattern.operation.code)
def test_an_operation_gives_what_it_says(pattern):
    kinds = {"numbers": (list, int), "words": (list, str), "text": (str, str), "number": (int, int)}
    inputs = {
        "numbers": [[], [3, -5, 3, 0, 12]],
        "words": [[], ["ab", "Fox", "ab", "kettle"]],
        "text": ["", "the Fox 42 zoo"],
        "number": [0, -17],
    }
    whole, part = kinds[pattern.operation.gives]
    for seed in range(3):
        operation = pattern.drawn(random.Random(seed))
        assert not set("{}") & set(operation.words)
        for given in inputs[operation.takes]:
            before = repr(given)
            value = applied([operation], given)
            assert type(value) is whole
            assert whole is int or all(type(each) is part for each in value)
            assert repr(given) == before


def test_tasks_are_the_same_everywhere_and_found_by_their_ids():
    tasks = FunctionTaskSet(seed=3, difficulty=2)
    task = tasks.task(17)

    assert task == FunctionTaskSet(seed=3, difficulty=2).task(17)
    assert tasks.find(task.id) == task
    assert task.id == "functions/2/train/3/17"
    with pytest.raises(KeyError):
        FunctionTaskSet().find(task.id)


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_no_solution_is_that_of_many_tasks(difficulty):
    for seed in range(3):
        tasks = [FunctionTaskSet(seed=seed, difficulty=difficulty).task(i) for i in range(100)]
        [(_, times)] = Counter(task.answer for task in tasks).most_common(1)

        assert times / len(tasks) < 0.05


@pytest.mark.parametrize("difficulty", [1, 2, 3])
def test_the_splits_share_no_solution(difficulty):
    train, heldout = (
        {body_of(FunctionTaskSet(seed=seed, difficulty=difficulty, split=split).task(i))
         for seed in (0, 1) for i in range(150)}
        for split in ("train", "heldout")
    )  # fmt: skip

    assert not train & heldout
    assert len(train) > 60 < 2 * len(heldout)


def test_gymnasium_makes_it_on_a_split():
    env = gym.make("qwq/CodeTool-v0", split="heldout", difficulty=2)
    _, info = env.reset(seed=0)

    assert info["task_id"].startswith("functions/2/heldout/0/")
    assert [tool["function"]["name"] for tool in info["tools"]] == ["python", "run_tests"]
