"""The published row forms, in small files of the same schema."""

from __future__ import annotations

import base64
import json
import pickle
import zlib

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.code import CallTest, Script, StdinTest, read_problem

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
}
SCRIPTS = {
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
    "mbpp with a module": {"test_list": ["assert math.isclose(add(1, 2), 3)"]},
    "acecode": {"test_cases": ["assert add(1, 2) == 3"]},
    "kodcode": {
        "test": "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
        "test_info": [{"function_name": "add"}],
    },
    "verl": {"reward_model": {"ground_truth": {"assert_case": "assert add(1, 2) == 3"}}},
    "deepcoder": {"tests": json.dumps({"functional": "assert add(1, 2) == 3"})},
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
    "codeforces": {"official_tests": STDIN, "time_limit": 4.0, "generated_checker": None},
    "codecontests": {
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": ["5 5\n"], "output": ["10\n"]},
        "time_limit": {"seconds": 4, "nanos": 0},
    },
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


@pytest.mark.parametrize("form", SCRIPTS)
def test_forms_of_test_code(form):
    [script] = read_problem(SCRIPTS[form]).tests

    assert isinstance(script, Script)
    assert script.functions == ("add",)


@pytest.mark.parametrize("form", PRINTS)
def test_forms_of_programs(form):
    problem = read_problem(PRINTS[form])

    assert [type(test) for test in problem.tests] == [StdinTest, StdinTest]
    assert problem.tests[1].output.strip() == "10"


def test_a_limit_made_for_other_languages_is_doubled():
    for form in ("codeforces", "codecontests"):
        assert read_problem(PRINTS[form]).seconds == 8.0
        assert read_problem({**PRINTS[form], "time_limit": 0.5}).seconds == 6.0


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
    ("row", "words"),
    [
        ({"question": "?", "prompt": None}, "has 'question'"),
        ({"tests": []}, "expected a list"),
        ({"input_output": "{"}, "not JSON"),
        ({"input_output": ""}, "not JSON"),
        ({"input_output": json.dumps({"inputs": ["1"], "outputs": []})}, "1 inputs and 0 outputs"),
        ({"input_output": json.dumps({"inputs": [], "outputs": []})}, "no tests"),
        ({"test_list": ["assert 1 == 1"]}, "nothing that is not theirs"),
        ({"test_list": ["assert f(("]}, "not Python"),
        ({"entry_point": "f(", "test": "assert f(1)"}, "entry_point"),
        ({"entry_point": "f"}, "nearest HumanEval, which lacks test"),
        ({"private_test_cases": "[]", "metadata": "{}"}, "public_test_cases (LiveCodeBench)"),
        ({"tests": {"fname": "559.json", "md5": "0"}}, "['fname', 'md5']"),
        ({"tests": [{"input": "1", "output": "2", "testtype": "functional"}]}, "func_name"),
        ({"public_test_cases": [{"input": "1", "output": "2", "testtype": "functional"}]}, "func"),
        ({"official_tests": STDIN, "generated_checker": "import sys"}, "judged by a program"),
        ({"public_tests": {"input": ["1"], "output": []}}, "published form"),
        ({"test": "def test_a(x):\n    assert x", "test_info": []}, "test_a; expected functions"),
        ({"test": "from solution import f\nassert f(1)", "test_info": []}, "expected functions"),
        (
            {"test": "class T(unittest.TestCase):\n    pass", "entry_point": "f"},
            "a class of unittest",
        ),
        ({"verification_info": {"language": "cpp", "test_cases": STDIN}}, "expected python"),
        ({"reward_model": {"ground_truth": "42"}}, "expected a list of tests"),
        ({"input_output": {"fn_name": "f(", "inputs": [[1]], "outputs": [1]}}, "expected a name"),
    ],
    ids=str,
)
def test_rows_that_cannot_be_used(row, words):
    with pytest.raises(UsageError) as refusal:
        read_problem(row)

    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def call(**case) -> CallTest:
    """The test of a row of verl's that calls `f`; `case` as its columns."""
    truth = {"fn_name": "f", **{key: [value] for key, value in case.items()}}
    [test] = read_problem({"reward_model": {"ground_truth": json.dumps(truth)}}).tests
    return test


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ("1\n2", (1, 2)),
        ("[1, 2]\n", ([1, 2],)),
        ('"1"\n["a\\nb"]', ("1", ["a\nb"])),
        ("not json", ("not json",)),
        ([1, 2], (1, 2)),
        ([[1, 2]], ([1, 2],)),
        (["1\n2"], ("1\n2",)),
        (5, (5,)),
        ('{"1": 2}\n{"3": 4}', ({1: 2}, {"3": 4})),
        ([{"a": 1}], ({"a": 1},)),
    ],
)
def test_arguments_in_both_layouts(given, arguments):
    assert call(inputs=given, outputs="1").arguments == arguments


@pytest.mark.parametrize(
    ("given", "wanted", "right", "wrong"),
    [
        ("1", "[1, 2]", [1, 2], [2, 1]),
        ("1", '"ab"', "ab", '"ab"'),
        ("1", "plain", "plain", "other"),
        ([1], [3], 3, 4),
        ([1], [[3]], [3], 4),
        ([1], [3, 4], [3, 4], 4),
        ([1], "3", "3", 3),
        ("1", '{"1": "a"}', {1: "a"}, {2: "a"}),
        ("1", '{"1": "a"}', {"1": "a"}, {"1": "b"}),
        ("1", "1e18", 10**18 + 1, 10**18 + 1000),
    ],
)
def test_expected_values_in_both_layouts(given, wanted, right, wrong):
    check = call(inputs=given, outputs=wanted).check

    assert check(right)
    assert not check(wrong)


def test_a_text_that_primeintellect_calls_a_function_with_is_its_list_of_arguments():
    case = {"type": "function_call", "fn_name": "f", "input": "[1, 2]", "output": "3"}
    [test] = read_problem({"verification_info": {"test_cases": [case]}}).tests

    assert test.arguments == (1, 2)


def test_an_expected_integer_of_any_length():
    check = call(inputs="1", outputs="1" + "0" * 5000).check

    assert check(10**5000)
    assert not check(10**5000 + 1)
    with pytest.raises(UsageError, match="digits"):
        read_problem({"input_output": '{"inputs": [' + "1" * 10**6 + '], "outputs": [1]}'})
