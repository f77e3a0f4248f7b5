"""The published row forms, in small files of the same schema."""

from __future__ import annotations

import base64
import json
import pickle
import zlib

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.code import CallTest, StdinTest, read_problem

STDIN = [{"input": "1 2\n", "output": "3\n"}, {"input": "5 5\n", "output": "10\n"}]


def packed(value) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(value)))).decode()


ADDS = {
    "own": {"tests": [{"function": "add", "arguments": [1, 2], "expected": 3}]},
    "lcb": {
        "public_test_cases": json.dumps(
            [{"input": "1\n2", "output": "3", "testtype": "functional"}]
        ),
        "private_test_cases": packed([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
        "metadata": json.dumps({"func_name": "add"}),
    },
    "apps": {"input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]})},
    "verl": {
        "reward_model": {
            "ground_truth": json.dumps({"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]})
        }
    },
    "deepcoder": {
        "tests": json.dumps(
            [{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}]
        )
    },
    "open-r1": {
        "verification_info": json.dumps(
            {"language": "python", "test_cases": [{"fn_name": "add", "input": [1, 2], "output": 3}]}
        )
    },
    "humaneval": {
        "entry_point": "add",
        "test": (
            "METADATA = {}\n\ndef check(candidate):\n"
            "    assert True\n    assert candidate(1, 2) == 3, 'no'\n"
        ),
    },
    "evalplus": {
        "entry_point": "add",
        "test": (
            "def check(candidate):\n    inputs = [[1, 2]]\n    results = [3]\n"
            "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
            "        assertion(candidate(*inp), exp, 0)\n"
        ),
    },
    "mbpp": {"test_list": ["assert add(1, 2) == 3"], "test_imports": []},
}
PRINTS = {
    "own": {"tests": STDIN},
    "lcb": {
        "public_test_cases": json.dumps([{**STDIN[0], "testtype": "stdin"}]),
        "private_test_cases": packed([{**STDIN[1], "testtype": "stdin"}]),
    },
    "apps": {
        "input_output": json.dumps({"inputs": ["1 2\n", "5 5\n"], "outputs": ["3\n", "10\n"]})
    },
    "deepcoder": {"tests": json.dumps([{**test, "type": "stdin_stdout"} for test in STDIN])},
    "open-r1": {"verification_info": {"language": "python", "test_cases": STDIN}},
}


@pytest.mark.parametrize("form", ADDS)
def test_forms_of_calls(form):
    problem = read_problem(ADDS[form])

    for test in problem.tests:
        assert isinstance(test, CallTest)
        assert (test.function, test.arguments) == ("add", (1, 2))
        assert test.check(3)
        assert not test.check(4)
        assert not test.check("3")


@pytest.mark.parametrize("form", PRINTS)
def test_forms_of_programs(form):
    problem = read_problem(PRINTS[form])

    assert [type(test) for test in problem.tests] == [StdinTest, StdinTest]
    assert problem.tests[1].output.strip() == "10"


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


@pytest.mark.parametrize(
    "private",
    [
        base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode(),
        base64.b64encode(zlib.compress(pickle.dumps([1]))).decode(),
        "not base64!",
        base64.b64encode(b"not zlib").decode(),
    ],
)
def test_hostile_archives_are_refused(private, capsys):
    with pytest.raises(UsageError):
        read_problem({"public_test_cases": "[]", "private_test_cases": private})

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "row",
    [
        {"question": "?"},
        {"tests": []},
        {"input_output": "{"},
        {"input_output": json.dumps({"inputs": ["1"], "outputs": []})},
        {
            "test_list": [
                "import os; os.system('true')\nassert f(1) == 2",
                "x = open('/etc/passwd')",
            ]
        },
        {"test_list": ["assert f(open('/etc/passwd')) == 2"]},
        {"test_list": ["for i in range(3): assert f(i) == i"]},
        {"test_list": ["assert 1 == 1"]},
        {"test_list": ["assert f(9**9**9) == 1"]},
        {"test_list": ["assert f('a' * 10**12) == 1"]},
        {"test_list": ["assert f(("]},
    ],
)
def test_rows_that_cannot_be_used(row):
    with pytest.raises(UsageError):
        read_problem(row)


@pytest.mark.parametrize(
    ("statement", "right", "wrong"),
    [
        ("assert f(1) == [1, 2]", [1, 2], [2, 1]),
        ("assert f(1) == (1, 2)", [1, 2], [1]),
        ("assert [1, 2] == f(1)", [1, 2], [2]),
        ("assert f(1)", True, 1),
        ("assert not f(1)", False, True),
        ("assert f(1) is None", None, 0),
        ("assert f(1) is True", True, 1),
        ("assert f(1) != 3", 4, 3),
        ("assert f(1) < 3", 2, 3),
        ("assert 3 <= f(1)", 3, 2),
        ("assert abs(f(1) - 0.5) < 1e-6", 0.5, 0.51),
        ("assert math.isclose(f(1), 2.5, rel_tol=0.01)", 2.51, 2.6),
        ("assert set(f(1)) == {1, 2}", [2, 1, 1], [1]),
        ("assert sorted(f(1)) == [1, 2]", [2, 1], [2, 2]),
        ("assert len(f(1)) == 2", "ab", "abc"),
        ("assert f(1)[0] == 5", [5, 6], []),
        ("assert f(1) == [0] * 3", [0, 0, 0], [0]),
        ("assert f(1) == -float('inf')", -float("inf"), 0.0),
        ("assert f(1) in (1, 2)", 2, 3),
        ("assert f(1) == {'a': 1}", {"a": 1}, {"a": 2}),
        ("assert f(1) == True", True, 1),
        ("assert f(1) == 1", 1, True),
        ("assert f(1) == 5", 5.0, 5.0000001),
        ("assert 3 in f(1)", [3], []),
        ("assert 'abc' in f(1)", "xabcx", "a"),
        ("assert 'abc' in f(1)", ["abc"], ["xabcx"]),
        ("assert 'a' in f(1)", {"a": 0}, {"b": "a"}),
        ("assert 1 in f(1)", (2, 1), [True]),
        ("assert 3 in f(1)", {3}, 3),
        ("assert f(1) in 'abc'", "ab", "ac"),
        ("assert f(1) in 'abc'", "c", ["c"]),
        ("assert f(1) in [[1], [2]]", (2,), [3]),
        ("assert 3 not in f(1)", [4], [3]),
        ("assert 'abc' not in f(1)", "a", "xabcx"),
        ("assert 3 not in f(1)", [], 5),
        ("assert f(1) not in (1, 2)", 3, 2),
        ("assert f(1) not in 'abc'", "ca", 5),
    ],
)
def test_asserts_become_checks(statement, right, wrong):
    [test] = read_problem({"test_list": [statement]}).tests

    assert (test.function, test.arguments) == ("f", (1,))
    assert test.check(right)
    assert not test.check(wrong)
