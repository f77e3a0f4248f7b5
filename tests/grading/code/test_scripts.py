"""Test code as it was published, played against solutions in a process of their own."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest

from qwq_env.grading.code import CodeGrader, CodeProblem, read_problem, script

pytestmark = pytest.mark.asyncio(loop_scope="session")


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def within(seconds: float, *tests: str) -> CodeProblem:
    return replace(read_problem({"test_list": list(tests)}), seconds=seconds)


def returning(value: object) -> str:
    return fenced(f"def f(*arguments, **named): return {value}")


@pytest.mark.parametrize(
    ("statement", "right", "wrong"),
    [
        ("assert f(1) == [1, 2]", "[1, 2]", "[2, 1]"),
        ("assert [1, 2] == f(1)", "[1, 2]", "(1, 2)"),
        ("assert f(1)", "True", "[]"),
        ("assert not f(1)", "False", "True"),
        ("assert f(1) is None", "None", "0"),
        ("assert list(f(1)) == [1, 2]", "(each for each in (1, 2))", "(each for each in (1, 1))"),
        ("assert list(f([1, 2])) == [2, 3]", "map(lambda x: x + 1, arguments[0])", "map(str, [2])"),
        ("assert f(1) == [1, 2]", "[1, 2]", "iter([1, 2])"),
        ("assert next(f(1)) == 1", "iter([1])", "iter([])"),
        ("assert dict(f(1)) == {1: 'a'}", "zip([1], 'a')", "zip([2], 'a')"),
        (
            "assert sorted(f({2: 1, 1: 0})) == [1, 2]",
            "arguments[0].keys()",
            "arguments[0].values()",
        ),
        ("assert list(f(x for x in 'ab')) == ['a', 'b']", "arguments[0]", "'a'"),
        (
            "import collections\nassert f(1) == collections.deque([1])",
            "__import__('collections').deque([1])",
            "[1]",
        ),
        (
            "from fractions import Fraction\nassert f(1) == Fraction(1, 2)",
            "__import__('fractions').Fraction(2, 4)",
            "__import__('fractions').Fraction(1, 3)",
        ),
        (
            "from decimal import Decimal\nassert f(1) == Decimal('1.5')",
            "__import__('decimal').Decimal('1.50')",
            "1.25",
        ),
        ("assert f(1) is True", "True", "1"),
        ("assert f(1) != 3", "4", "3"),
        ("assert f(1) < 3 and f(2) > 1", "2", "3"),
        ("assert 3 <= f(1) <= 4", "3", "2"),
        ("assert abs(f(1) - 0.5) < 1e-6", "0.5", "0.51"),
        ("assert math.isclose(f(1), 2.5, rel_tol=0.01)", "2.51", "2.6"),
        ("from math import isclose\nassert isclose(f(1), 2.5)", "2.5", "2.6"),
        ("assert set(f(1)) == {1, 2}", "[2, 1, 1]", "[1]"),
        ("assert sorted(f(1)) == [1, 2]", "{2, 1}", "[2, 2]"),
        ("assert len(f(1)) == 2", "'ab'", "'abc'"),
        ("assert f(1)[0] == 5", "[5, 6]", "[]"),
        ("assert f(1) == -float('inf')", "-float('inf')", "0.0"),
        ("assert f(1) in (1, 2)", "2", "3"),
        ("assert 'a' not in f(1)", "'xyz'", "{'a': 0}"),
        ("assert f(1) == {'a': (1, 2)}", "{'a': (1, 2)}", "{'a': (2, 1)}"),
        ("assert f(1) == {1: 2}", "__import__('collections').Counter([1, 1])", "{1: 1}"),
        ("assert any(x == 3 for x in f(1))", "[1, 3]", "[1]"),
        ("assert all([f(x) == 'a' for x in range(9)])", "'a'", "'b'"),
        ("for x in range(3):\n    assert f(x) == x", "arguments[0]", "0"),
        ("x = 0\nwhile f(x) < 3:\n    x += 1\nassert x == 3", "arguments[0]", "5"),
        ("xs = [f(x) ** 2 for x in (1, 2)]\nassert xs == [1, 4]", "arguments[0]", "1"),
        ("def g(x): return 2 * x\nassert f(g(2)) == g(2)", "arguments[0]", "2"),
        ("assert f(f(3)) == 5", "arguments[0] + 1", "3"),
        ("assert f(*[1, 2], c=3) == 6", "sum(arguments) + named['c']", "3"),
        ("assert f(x={'k': (1,)}) == (1,)", "named['x']['k']", "[1]"),
        ("assert f(1j) == 1j.conjugate()", "arguments[0].conjugate()", "arguments[0]"),
        ("assert f(b'a', range(3)) == 2", "len(arguments[1]) - len(arguments[0])", "0"),
        ("import numpy as np\nassert np.allclose(f(1), [1, 2])", "[1.0, 2.0]", "[1.0, 3.0]"),
        ("xs = [2, 1]\nf(xs)\nassert xs == [1, 2]", "arguments[0].sort()", "sorted(arguments[0])"),
        ("import re\nassert re.match('a', f(1)) is not None", "'ab'", "'b'"),
        ("if f(1) is None:\n    assert f(2) is None\nelse:\n    assert f(1) == 1", "1", "2"),
        ("assert f(1) == [f(2), f(3)][0]", "7", "print(0)/0"),
        (
            "import random\nrandom.seed(3)\nx = random.random()\nassert f(x) == x",
            "arguments[0]",
            "3",
        ),
        ("assert f(2)", "__import__('re').search('a', 'a')", "__import__('re').search('a', 'b')"),
        ("assert f(10**5000) == 10**5000 + 1", "arguments[0] + 1", "arguments[0]"),
        ("print('hm')\nassert isinstance(f(1), str)", "'1'", "1"),
        ("with open('/dev/null') as file:\n    assert f(file.read()) == ''", "''", "'x'"),
    ],
)
async def test_what_test_code_asks_for(grader, statement, right, wrong):
    problem = read_problem({"test_list": [statement]})

    for value, paid in ((right, 1.0), (wrong, 0.0)):
        score = await grader.grade(problem, returning(value))
        assert score.value == paid, score


RAISES = """
try:
    f(-1)
    assert False, "no error"
except ValueError as error:
    assert "small" in str(error)
"""


@pytest.mark.parametrize(
    ("code", "paid"),
    [
        ("def f(x): raise ValueError('too small')", 1.0),
        ("def f(x): raise ValueError('too large')", 0.0),
        ("def f(x): raise TypeError('too small')", 0.0),
        ("def f(x): return 1", 0.0),
        ("class E(ValueError): pass\ndef f(x): raise UnicodeDecodeError('small')", 0.0),
    ],
)
async def test_an_exception_that_is_expected(grader, code, paid):
    score = await grader.grade(read_problem({"test_list": [RAISES]}), fenced(code))

    assert score.value == paid, score


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x):\n while True: pass", "time_limit"),
        ("def f(x): return [0] * 10**10", "memory_limit"),
        ("def f(x): import os; os._exit(0)", "runtime_error"),
        ("1 / 0", "runtime_error"),
        ("def f(x): 1 / 0", "runtime_error"),
        ("def g(x): return 1", "runtime_error"),
        ("def f(x): return object()", "wrong_answer"),
        ("def f(x): yield 1", "wrong_answer"),
        ("def f(x):\n x = []\n for _ in range(999): x = [x]\n return x", "wrong_answer"),
    ],
)
async def test_a_call_that_gives_nothing_is_wrong_whatever_the_tests_catch(grader, code, reason):
    problem = within(0.5, "assert f(1) == 1")
    lenient = within(0.5, "try:\n    f(1)\nexcept ArithmeticError: pass\nassert f(1) == 1")

    score = await grader.grade(problem, fenced(code))
    assert (score.value, score.reason) == (0.0, reason)
    assert (await grader.grade(lenient, fenced(code))).value == 0.0


@pytest.mark.parametrize(
    "code", ["def f(x):\n while True: pass", "1 / 0", "import os; os._exit(0)"]
)
async def test_what_is_lost_is_no_exception_that_a_test_waits_for(grader, code):
    problem = within(
        0.5, "try:\n    f(1)\n    assert 0\nexcept Exception: pass", "try: f(1)\nexcept: 0"
    )
    score = await grader.grade(problem, fenced(code))

    assert score.value == 0.0, score


CHEATS = {
    "equal to everything": "class E(int):\n    __eq__ = lambda a, b: True\ndef f(x): return E(0)",
    "equal to everything, no int": "class E:\n    __eq__ = lambda a, b: True\ndef f(x): return E()",
    "reads memory": """
import gc, re, sys
def f(x):
    frame, found = sys._getframe(), []
    while frame:
        found.append(str(frame.f_locals)[:100000])
        frame = frame.f_back
    found += [str(o)[:2000] for o in gc.get_objects() if type(o) in (list, tuple, dict)]
    return int(next((m[1] for t in found if (m := re.search(r"f\\(.\\) == ([0-9]+)", t))), 0))
""",
    "answers a question of its own": "_callee_ = {}\ndef f(x): return {'call': ['f', [], {}]}",
    "claims an object": "class E:\n    recipe = {'value': 271828}\ndef f(x): return E()",
    "replaces the answer": """
import json
json.dumps = lambda *a, **k: '{"value": {"call": ["f", [], {}]}}'
def f(x): return 0
""",
    "raises nothing": "def f(x): raise AssertionError",
    "leaves": "import os\ndef f(x): os._exit(0)",
}


@pytest.mark.parametrize("cheat", CHEATS)
async def test_cheats_earn_nothing(grader, cheat):
    problem = read_problem({"test_list": ["assert f(3) == 271828", "assert f(4) == 271828"]})
    score = await grader.grade(problem, fenced(CHEATS[cheat]))

    assert score.value == 0.0, score


@pytest.mark.parametrize(
    "rows",
    [
        ["assert f(lambda x: x) == 1"],
        ["assert f(1) == 1", "assert f(object()) == 1"],
        ["import no_such_module\nassert f(1) == 1"],
        ["assert f(1) == eval('1')"],
        ["if False: f(1)"],
        ["import time\nassert f(time.perf_counter_ns()) == 1"],
        ["assert f('a' * 10**12) == 1"],
        ["import os; os._exit(0)\nassert f(1)"],
    ],
    ids=str,
)
async def test_test_code_that_no_solution_can_be_held_against_is_undecided(grader, rows):
    score = await grader.grade(read_problem({"test_list": rows}), returning(1))

    assert (score.value, score.reason) == (None, "unusable")


async def test_a_name_that_neither_the_prompt_nor_the_tests_have_is_not_asked_of_the_solution(
    grader,
):
    row = {"entry_point": "f", "test": "def check(g):\n    assert same(g(1), 271828)"}
    score = await grader.grade(read_problem(row), fenced("same = f = lambda *a: True"))

    assert (score.value, score.reason) == (None, "unusable")


@pytest.mark.parametrize(
    "value",
    ["[n * (2**61 - 1) for n in range(30_000)]", "'x' * 20_000_000", "[[]] * 100_000"],
)
async def test_what_a_value_costs_to_compare_is_not_paid_by_the_grader(grader, value):
    problem = within(0.5, "assert set(f(1)) == {1}")
    began = time.process_time()
    score = await grader.grade(problem, returning(value))

    assert not score.value, score
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("test", "code", "paid"),
    [
        ("assert gcd(4, 6) == 2", "def gcd(a, b): return 2", 1.0),
        ("assert gcd(4, 6) == 2", "def gcd(a, b): return 3", 0.0),
        ("assert f(4) == gcd(4, 6)", "def f(a): return 2", 1.0),
        ("assert f(4) == inf", "def f(a): return inf", 1.0),
        ("assert Counter(f('aa')) == Counter(a=2)", "def f(a): return list(a)", 1.0),
        ("assert f(4) == eval('4')", "def f(a): return a", None),
    ],
)
async def test_names_that_the_judge_imports(grader, test, code, paid):
    problem = read_problem({"tests": {"functional": test}})

    assert (await grader.grade(problem, fenced(code))).value == paid


@pytest.mark.parametrize(
    "test",
    [
        "for x in f(1): last = x\nassert last == 2",
        "def check(g):\n    for x in g(1): last = x\n    assert last == 2\ncheck(f)",
        "assert f(1)[0] == 2",
        "a, b = f(1)\nassert a == b",
        "assert {2: 3}[f(1)] == 3",
    ],
)
async def test_an_error_that_only_the_value_makes_is_wrong(grader, test):
    score = await grader.grade(read_problem({"test_list": [test]}), returning("[]"))

    assert (score.value, score.reason) == (0.0, "wrong_answer")


async def test_tests_that_wait_for_ever_come_to_an_end(grader, monkeypatch):
    monkeypatch.setattr("qwq_env.grading.code.script.MOST_PLAYS", 6)
    problem = read_problem({"test_list": ["n = 0\nwhile f(n) < 3: n += 1\nassert n == 3"]})

    assert (await grader.grade(problem, returning("arguments[0]"))).value == 1.0
    score = await grader.grade(problem, returning("0"))
    assert (score.value, score.reason) == (0.0, "time_limit")


HALF = "def f(x):\n    if x % 2: raise ValueError\n    return x"


@pytest.mark.parametrize(
    "script",
    [
        "for x in range(10): assert f(x) == x",
        "def check(g):\n    for x in range(10):\n        assert g(x) == x\ncheck(f)",
        "def equal(a, b): assert a == b\nfor x in range(10): equal(f(x), x)",
        "for x in range(10):\n    y = f(2 * x)\n    assert y == 2 * (x if x % 2 else -1)",
    ],
)
async def test_each_assertion_counts_towards_a_fraction(sandbox, script):
    grader = CodeGrader(sandbox, reward="fraction")
    score = await grader.grade(read_problem({"test_list": [script]}), fenced(HALF))

    assert score.value == 0.5, score


async def test_a_solution_cannot_make_the_tests_fewer(sandbox):
    script = "for x in range(10):\n    y = f(x)\n    assert y == x"
    grader = CodeGrader(sandbox, reward="fraction")
    score = await grader.grade(
        read_problem({"test_list": [script]}), fenced("def f(x): return x if x < 1 else [][0]")
    )

    assert score.value == pytest.approx(0.1), score


async def test_the_first_assertions_alone(sandbox):
    problem = read_problem({"test_list": ["for x in range(10): assert f(x) == x"]})
    code = fenced("def f(x): return x if x < 3 else 0")

    for first, paid in ((3, 1.0), (4, 0.0)):
        grader = CodeGrader(sandbox, reward="first_k", first_k=first)
        assert (await grader.grade(problem, code)).value == paid


async def test_most_scripts_need_two_plays(sandbox):
    class Counting:
        runs = calls = 0

        async def run(self, *arguments, **more):
            self.runs += 1
            return await sandbox.run(*arguments, **more)

        async def call(self, *arguments, **more):
            self.calls += 1
            return await sandbox.call(*arguments, **more)

    counting = Counting()
    grader = CodeGrader(counting)
    test = "def check(g):\n    for x in range(15): assert g(x) == x"
    problem = read_problem({"entry_point": "f", "test": test})
    await grader.grade(problem, returning("arguments[0]"))
    counting.runs = counting.calls = 0
    score = await grader.grade(problem, returning("arguments[0]"))

    assert score.value == 1.0
    assert (counting.runs, counting.calls) == (2, 4)


KODCODE = """
import pytest
from solution import add

def test_sum():
    assert add(1, 2) == 3

def test_error():
    with pytest.raises(ValueError):
        add(1, "x")
"""


@pytest.mark.parametrize(("more", "value"), [("int(b)", 1.0), ("0", 0.0), ("b", 0.0)])
async def test_functions_of_pytest_are_played(sandbox, more, value):
    problem = read_problem({"test": KODCODE, "test_info": [{"function_name": "add"}]})
    score = await CodeGrader(sandbox).grade(problem, fenced(f"def add(a, b): return a + {more}"))

    assert score.value == value, score


async def test_a_sandbox_of_another_python_gets_the_source():
    """Bytecode is of one version only."""
    expression = script._compiled("callee")
    ours, theirs = (eval(expression.replace(sys.implementation.cache_tag, tag)) for tag in (
        sys.implementation.cache_tag, "cpython-39",
    ))  # fmt: skip

    assert ours.co_filename == theirs.co_filename == "callee"
    assert ours == theirs
