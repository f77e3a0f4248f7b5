"""Programs as contests see them: what their judges give a program, and its streams."""

from __future__ import annotations

import json

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.code import CodeGrader, CodeProblem, StdinTest, read_problem
from qwq_env.grading.code.prelude import APPS, CONTEST, LIVE_CODE_BENCH, with_prelude

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAST = """
import os, sys
from io import BytesIO, IOBase
class Fast(IOBase):
    newlines = 0
    def __init__(self, file):
        self.fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def readline(self):
        while self.newlines == 0:
            read = os.read(self.fd, max(os.fstat(self.fd).st_size, 8192))
            self.newlines = read.count(b"\\n") + (not read)
            place = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(read), self.buffer.seek(place)
        self.newlines -= 1
        return self.buffer.readline()
    def flush(self):
        if self.writable:
            os.write(self.fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
sys.stdin, out = Fast(sys.stdin), Fast(sys.stdout)
a, b = map(int, sys.stdin.readline().split())
out.write(b"%d\\n" % (a + b))
out.flush()
"""
STREAMS = """
import sys, os
assert (sys.stdin.mode, sys.stdin.name, sys.stdin.buffer.mode) == ("r", "<stdin>", "rb")
for stream, name in ((sys.stdout, "<stdout>"), (sys.stderr, "<stderr>")):
    assert (stream.mode, stream.name, stream.buffer.mode) == ("w", name, "wb")
assert sys.__stdout__ is sys.stdout and os.path.dirname(os.path.abspath(__file__))
print(sum(map(int, input().split())))
"""
SUM = CodeProblem((StdinTest("2 3\n", "5\n"), StdinTest("0 7\n", "7\n")))


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.mark.parametrize("code", [FAST, STREAMS, "print(sum(map(int, open(0).read().split())))"])
@pytest.mark.parametrize("prelude", ["", CONTEST])
async def test_programs_that_look_at_their_streams(grader, code, prelude):
    score = await grader.grade(CodeProblem(SUM.tests, prelude), fenced(code))

    assert score.value == 1.0, score


@pytest.mark.parametrize(
    "code",
    [
        "n = input()\nprint(int(n) + 1)",
        "import sys\nn = int(sys.stdin.read())\nsys.stdout.write(str(n + 1))",
        "from decimal import Decimal\nprint(int(Decimal(input())) + 1)",
    ],
)
async def test_integers_of_any_length(grader, code):
    problem = CodeProblem((StdinTest("9" * 6000 + "\n", "1" + "0" * 6000 + "\n"),))

    assert (await grader.grade(problem, fenced(code))).value == 1.0


async def test_what_long_integers_cost_is_the_programs_own_time(grader):
    problem = CodeProblem((StdinTest("", "1"),), seconds=0.3)
    score = await grader.grade(problem, fenced("x = int('9' * 10**7)\nprint(x)"))

    assert (score.value, score.reason) == (0.0, "time_limit")


NAMES = "List[int], Optional, defaultdict, heappush, heapq, inf, gcd, lru_cache, bisect_left, re"


@pytest.mark.parametrize(
    ("prelude", "extra", "depth"),
    [(LIVE_CODE_BENCH, "deque", 30_000), (CONTEST, "Counter", 60_000), (APPS, "np, fractions", 9)],
)
async def test_judges_give_names_and_depth(grader, prelude, extra, depth):
    code = f"""
def down(n): return 0 if n == 0 else 1 + down(n - 1)
assert ({NAMES}, {extra})
assert pow(2, 10, 1000) == 24 and open and sum([1]) == 1 and abs(-1) == 1
print(down(int(input())))
"""
    problem = CodeProblem((StdinTest(f"{depth}\n", f"{depth}\n"),), prelude)

    assert (await grader.grade(problem, fenced(code))).value == 1.0


@pytest.mark.parametrize("prelude", ["", "import math\ndef helper(): pass\n", CONTEST])
async def test_a_prelude_takes_one_line(prelude):
    code = "from __future__ import annotations\nx = '''\n'''\nraise KeyError"
    lines = with_prelude(prelude, code).split("\n")

    assert lines[0] == "from __future__ import annotations"
    assert lines.index("raise KeyError") == code.split("\n").index("raise KeyError") + 2


async def test_a_method_comes_before_a_helper_of_its_name(grader):
    row = {"input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}}
    code = "def add(a): return a\nclass Solution:\n    def add(self, a, b): return a + b\n"
    beside = "class Solution:\n    def other(self): pass\ndef add(a, b): return a + b\n"

    for program in (code, code.replace("def add(a): return a", "add = max"), beside):
        score = await grader.grade(read_problem(row), fenced(program))
        assert score.value == 1.0, score


@pytest.mark.parametrize(
    ("value", "expected", "tolerant", "official"),
    [
        ("0.1 + 0.2", 0.3, 1.0, 0.0),
        ("(1, 2)", [1, 2], 1.0, 1.0),
        ("__import__('collections').Counter('aab')", {"a": 2, "b": 1}, 1.0, 1.0),
        ("__import__('numpy').int64(3)", 3, 1.0, 1.0),
        ("[float('nan')]", [1.0], 0.0, 0.0),
        ("True", 1, 0.0, 1.0),
        ("10**5000", 5, 0.0, 0.0),
        ("{1: 2}", {"1": 2}, 1.0, 0.0),
        ("__import__('fractions').Fraction(1, 2)", 0.5, 1.0, 1.0),
        ("[__import__('decimal').Decimal('4.0')]", [4], 1.0, 1.0),
        ("__import__('fractions').Fraction(1, 3)", 1 / 3, 0.0, 0.0),
        ("__import__('decimal').Decimal('nan')", 0.5, 0.0, 0.0),
        ("3", [3], 0.0, 0.0),
        ("[3]", [[3]], 0.0, 0.0),
    ],
)
async def test_returned_values_by_both_rules(grader, parity, value, expected, tolerant, official):
    case = {"input": "1", "output": json.dumps(expected), "testtype": "functional"}
    row = {"public_test_cases": [case], "metadata": {"func_name": "f"}}
    response = fenced(f"class Solution:\n    def f(self, x): return {value}")

    assert (await grader.grade(read_problem(row), response)).value == tolerant
    assert (await parity.grade(read_problem(row), response)).value == official


async def test_printed_floats_by_both_rules(sandbox, grader, parity):
    problem = CodeProblem((StdinTest("1\n", "0.333333333333\n"),))

    assert (await grader.grade(problem, fenced("print(0.333333)"))).value == 1.0
    assert (await parity.grade(problem, fenced("print(0.333333)"))).value == 0.0
    with pytest.raises(UsageError, match="numbers: 'exact'"):
        CodeGrader(sandbox, numbers="exact")


@pytest.mark.parametrize(
    ("program", "official"),
    [
        ("print(5); raise SystemExit(3)", 1.0),
        ("import sys\nprint(5)\nsys.exit('done')", 1.0),
        ("print(5)\nexit(2)\nprint(6)", 1.0),
        ("print(4); raise SystemExit(3)", 0.0),
        ("print(5); raise ValueError", 0.0),
        ("print(5); import os; os._exit(3)", 0.0),
        ("from __future__ import annotations\nif __name__ == '__main__':\n    print(5)", 1.0),
    ],
)
async def test_livecodebench_looks_at_no_exit_code(grader, parity, program, official):
    problem = CodeProblem((StdinTest("1\n", "5\n"),))
    exits = "xit(" in program or "SystemExit" in program

    assert (await parity.grade(problem, fenced(program))).value == official
    assert (await grader.grade(problem, fenced(program))).value == (0.0 if exits else official)
