"""Programs graded in the real sandbox: right, wrong, slow, and cheating."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_asyncio

from qwq_env.errors import UsageError
from qwq_env.grading.code import CallTest, CodeGrader, CodeProblem, StdinTest, grade_row
from qwq_env.grading.code.problem import Equals, same
from qwq_env.sandbox import (
    ExecutionResult,
    Limits,
    RemoteSandbox,
    SandboxUnavailable,
)
from qwq_env.sandbox.server import SandboxServer, ServiceLimits
from qwq_env.sandbox.source import MOST_CODE_BYTES

BATTERY = sorted((Path(__file__).parents[2] / "sandbox" / "hostile").glob("grade_*.py"))
HOSTILE = Path(__file__).parents[4] / "shared" / "hostile"
SUM = CodeProblem((StdinTest("1 2\n", "3\n"), StdinTest("5 5\n", "10\n"), StdinTest("0 0\n", "0")))
ADD = CodeProblem(
    tuple(CallTest("add", pair, Equals(sum(pair))) for pair in [(2, 3), (-1, 1), (10, 20), (7, 8)])
)
RIGHT = "print(sum(map(int, input().split())))"

pytestmark = pytest.mark.asyncio(loop_scope="session")


def fenced(code: str) -> str:
    return f"I think.\n</think>\n\nHere it is:\n```python\n{code}\n```\n"


async def test_right_program(grader):
    score = await grader.grade(SUM, fenced(RIGHT))

    assert score.value == 1.0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print(3)", "wrong_answer"),
        ("while True: pass", "time_limit"),
        ("import time; time.sleep(60)", "time_limit"),
        ("raise ValueError", "runtime_error"),
        ("x = [0] * 10**10", "memory_limit"),
        ("print(", "runtime_error"),
        ("import os; os.kill(os.getpid(), 9)", "runtime_error"),
        (f"{RIGHT}\nraise SystemExit(1)", "runtime_error"),
    ],
)
async def test_wrong_programs_and_why(grader, code, reason):
    problem = CodeProblem(SUM.tests, seconds=0.5)
    score = await grader.grade(problem, fenced(code))

    assert (score.value, score.reason) == (0.0, reason)


async def test_rewards(sandbox):
    half = "n, m = map(int, input().split())\nprint(n + m if n != 5 else 0)"
    fraction = await CodeGrader(sandbox, reward="fraction").grade(SUM, fenced(half))
    first = await CodeGrader(sandbox, reward="first_k", first_k=1).grade(SUM, fenced(half))
    everything = await CodeGrader(sandbox).grade(SUM, fenced(half))

    assert fraction.value == pytest.approx(2 / 3)
    assert first.value == 1.0
    assert everything.value == 0.0


class Watched:
    """A sandbox, and the requests of `call` that it got: how many calls, and their limits."""

    def __init__(self, sandbox):
        self._sandbox = sandbox
        self.run = sandbox.run
        self.asked = []

    async def call(self, code, function, arguments, *, limits):
        self.asked.append((len(arguments), limits))
        return await self._sandbox.call(code, function, arguments, limits=limits)


def adds(count: int, **options) -> CodeProblem:
    return CodeProblem(
        tuple(CallTest("add", (n, 1), Equals(n + 1)) for n in range(count)), **options
    )


async def test_a_looping_solution_is_not_called_for_every_test(sandbox):
    watched = Watched(sandbox)
    grader = CodeGrader(watched)
    await grader.grade(SUM, fenced(RIGHT))
    watched.asked.clear()
    loops = fenced("def add(a, b):\n    while a: pass\n    return a + b")
    score = await grader.grade(adds(100, seconds=1.0), loops)

    assert (score.value, score.reason, score.detail) == (0.0, "time_limit", "test 2 of 100")
    assert sum(calls for calls, _ in watched.asked) < 10


async def test_no_request_can_take_longer_than_a_server_allows(sandbox):
    watched = Watched(sandbox)
    right = fenced("def add(a, b): return a + b")
    for reward in ("all", "fraction"):
        for seconds in (6, 30):
            score = await CodeGrader(watched, reward=reward).grade(adds(60, seconds=seconds), right)
            assert score.value == 1.0

    for calls, limits in watched.asked:
        assert calls * 2 * limits.wall_seconds <= ServiceLimits().request_seconds


async def test_every_test_counts_towards_a_fraction(sandbox):
    half = fenced("def add(a, b): return a + b if a % 2 else [][a]")
    score = await CodeGrader(sandbox, reward="fraction").grade(adds(60), half)

    assert score.value == 0.5
    assert score.detail == "test 1 of 60; 30 failed"


async def test_the_first_failure_is_told_where_functions_take_turns(grader):
    tests = [CallTest(("one", "two")[n % 2], (), Equals(n // 4)) for n in range(8)]
    score = await grader.grade(
        CodeProblem(tuple(tests)), fenced("def one(): return 0\ndef two(): return 0")
    )

    assert (score.reason, score.detail) == ("wrong_answer", "test 5 of 8")


async def test_methods_of_a_solution_class(grader):
    code = "class Solution:\n    def add(self, a, b):\n        return a + b"
    score = await grader.grade(ADD, fenced(code))

    assert score.value == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "no code",
        "```python\n\n```",
        "```python\nprint(3)\n```\n</think>\n\nthat is it",
        "<think>\n```python\nx\n```",
    ],
)
async def test_no_code_after_the_thinking(grader, response):
    score = await grader.grade(SUM, response)

    assert (score.value, score.reason) == (0.0, "no_code")


@pytest.mark.parametrize("code", ["print('\ud800')", "#" * 10_000_000])
async def test_what_can_be_no_program_is_wrong(grader, code):
    score = await grader.grade(SUM, fenced(code))

    assert (score.value, score.reason) == (0.0, "no_code")


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations\nprint(sum(map(int, input().split())))",
        '"""Adds."""\n\nfrom __future__ import annotations, division  # why\n' + RIGHT,
        "from __future__ import annotations; import os\n" + RIGHT,
    ],
)
async def test_a_program_that_begins_with_the_future_has_a_prelude_too(grader, code):
    score = await grader.grade(CodeProblem(SUM.tests, prelude="import math"), fenced(code))

    assert score.value == 1.0


async def test_a_prelude_does_not_make_a_long_program_the_operators_error(grader):
    problem = CodeProblem(SUM.tests, prelude="import math\n" * 100)
    score = await grader.grade(problem, fenced("#" * (MOST_CODE_BYTES - 1000)))

    assert (score.value, score.reason) == (0.0, "no_code")


CHEATS = {
    "equal to everything": """
class Any(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
def add(a, b): return Any(0)
""",
    "reads the caller": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if isinstance(value, tuple) and len(value) == 2: return value[1]
        frame = frame.f_back
""",
    "leaves": "import os\ndef add(a, b): os._exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "prints the verdict": 'def add(a, b): print(\'{"ok": true, "value": 5}\'); return None',
    "knows the tests of the self-test": "def add(a, b): return 42",
    "true for all": "def add(a, b): return True",
    "changes json": """
import json
json.dumps = lambda *a, **k: '5'
def add(a, b): return 0
""",
}


@pytest.mark.parametrize("cheat", CHEATS)
async def test_cheats_earn_nothing(grader, cheat):
    score = await grader.grade(ADD, fenced(CHEATS[cheat]))

    assert score.value == 0.0
    assert (await grader.grade(ADD, fenced("def add(a, b): return a + b"))).value == 1.0


# One takes the whole of its time, call after call; the battery itself plays it.
@pytest.mark.parametrize(
    "path",
    [path for path in BATTERY if path.stem != "grade_answer_forever"],
    ids=lambda path: path.stem,
)
async def test_only_the_honest_program_of_our_battery_is_paid(grader, path):
    score = await grader.grade(ADD, fenced(path.read_text()))

    assert score.value == float(path.stem == "grade_right"), score


@pytest.mark.skipif(not HOSTILE.exists(), reason="the hostile programs are not beside the checkout")
async def test_grader_cheats_of_the_battery(grader):
    programs = json.loads((HOSTILE / "manifest.json").read_text())["programs"]
    problem = CodeProblem(ADD.tests, seconds=1.0)  # some take all of it
    paid = {}
    for program in programs:
        if program["mode"] == "grade":
            code = (HOSTILE / program["file"]).read_text()
            paid[program["name"]] = (await grader.grade(problem, fenced(code))).value

    honest = {name for name in paid if "honest" in name and "wrong" not in name}
    assert {name for name, value in paid.items() if value == 1.0} == honest
    assert honest
    assert all(value == 0.0 for name, value in paid.items() if name not in honest)


async def test_broken_sandbox_is_undecided():
    class Broken:
        """A sandbox in which every program prints nothing."""

        async def run(self, code, **arguments):
            return ExecutionResult("ok")

        async def call(self, *arguments, **more):
            raise SandboxUnavailable("gone")

    score = await CodeGrader(Broken()).grade(SUM, fenced(RIGHT))

    assert score.value is None
    assert "self-test" in score.detail


@pytest_asyncio.fixture(loop_scope="session")
async def remote(sandbox):
    async with SandboxServer(sandbox) as server, RemoteSandbox(server.url) as remote:
        yield remote


@pytest.mark.parametrize(
    ("code", "value", "reason"),
    [
        (RIGHT, 1.0, "passed"),
        ("print(4)", 0.0, "wrong_answer"),
        ("1 / 0", 0.0, "runtime_error"),
        ("raise SystemExit(3)", 0.0, "runtime_error"),
        ("while True: print('x' * 1000)", 0.0, "output_limit"),
    ],
)
async def test_a_server_as_it_comes_grades_as_this_machine_does(remote, code, value, reason):
    score = await CodeGrader(remote).grade(SUM, fenced(code))

    assert (score.value, score.reason) == (value, reason)


async def test_a_server_that_gives_too_little_is_found_out_before_the_first_grade(sandbox):
    limits = ServiceLimits(
        maxima=Limits(cpu_seconds=60, wall_seconds=60, memory_mb=128, output_bytes=4 << 20)
    )
    async with (
        SandboxServer(sandbox, limits=limits) as server,
        RemoteSandbox(server.url) as remote,
    ):
        with pytest.raises(UsageError, match="memory_mb"):
            await CodeGrader(remote).grade(SUM, fenced(RIGHT))


async def test_row_of_a_published_form():
    score = await grade_row(
        {"test_list": ["assert add(1, 2) == 3"], "response": fenced("add = max")}
    )

    assert (score.value, score.reason) == (0.0, "wrong_answer")


@pytest.mark.parametrize(
    ("value", "expected", "equal"),
    [
        ([1, 2], (1, 2), True),
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (True, 1, False),
        ("1", 1, False),
        (10**400, 1.5, False),
        ({1: [1.0]}, {1: (1,)}, True),
        (None, 0, False),
        (float("nan"), float("nan"), True),
        ({1, 2}, [1, 2], False),
        (1.0, 1, True),
        (123456788.5, 123456789, False),
        (123456789, 123456789.5, False),
        (10**12, 1e12 + 9e5, False),
        (2**53 + 1, float(2**53), True),
        (10**18 + 1, 1e18, True),
        (10**18 + 1000, 1e18, False),
        (1e18, 10**18 + 1, False),
        (10**400, float("inf"), False),
        ([10**18 + 1], [1e18], True),
        (1.0000001, 1, False),
        ([0.3000000001], [0.3], True),
        ({True: 1}, {1: 1}, False),
        ({True}, {1}, False),
        ({1.0000000001}, {1}, False),
        ({(1, True)}, {(1, 1)}, False),
        ({1.0: "x"}, {1: "x"}, True),
        (frozenset({1}), {1}, True),
        (float("inf"), float("inf"), True),
    ],
)
async def test_same(value, expected, equal):
    assert same(value, expected) is equal
