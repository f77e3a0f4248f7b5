"""The match of calls against possible answers: what is forgiven, and what is not."""

from typing import Any

import pytest

from qwq_env.errors import UsageError
from qwq_env.grading.calls import Call, match_calls


def document(name: str, required: list[str] | None = None, **types: Any) -> dict[str, Any]:
    properties = {n: t if isinstance(t, dict) else {"type": t} for n, t in types.items()}
    return {"name": name, "parameters": {"properties": properties, "required": required or []}}


def reason(arguments: Any, allowed: dict[str, list[Any]], **types: Any) -> str:
    """The verdict on one call of `f`."""
    docs = [document("f", **types)]
    return match_calls([{"name": "f", "arguments": arguments}], [{"f": allowed}], docs).reason


@pytest.mark.parametrize(
    "kind, allowed, value",
    [
        ("string", ["New York, NY"], "new york ny"),
        ("string", ["April 1, 2024"], "april 1 2024"),
        ("string", ["O'Neill"], 'o"neill'),
        ("float", [5.0], 5),
        ("integer", [2, 3], 3),
        ("boolean", [True], True),
        ("any", [7], 7),
        ("integer", ["my_variable"], "my_variable"),
        ("string", [None], None),
        ("string", [""], ""),
        ("tuple", [[1, 2]], (1, 2)),
        ({"type": "array", "items": {"type": "string"}}, [["a b", "c"]], ["AB", "c."]),
        ({"type": "array", "items": {"type": "string"}}, [], []),
        ({"type": "array", "items": {"type": "dict"}}, [[{"a": [1]}]], [{"a": 1}]),
        ({"type": "dict"}, [{"a": [1, 2], "b": ["x", ""]}], {"a": 2}),
    ],
)
def test_what_is_forgiven(kind: Any, allowed: list[Any], value: Any) -> None:
    assert reason({"p": value}, {"p": allowed}, p=kind) == "match"


@pytest.mark.parametrize(
    "kind, allowed, value, why",
    [
        ("string", ["cat"], "cats", "wrong_value"),
        ("string", ["cat", ""], "-", "wrong_value"),
        ("string", ["5"], 5, "wrong_type"),
        ("integer", [5], "5", "wrong_type"),
        ("integer", [5], 5.0, "wrong_type"),
        ("integer", [1], True, "wrong_type"),
        ("integer", [5], None, "wrong_type"),
        ("boolean", [True], 1, "wrong_type"),
        ("float", [5.5], 5.25, "wrong_value"),
        ("float", [1.0], float("nan"), "wrong_value"),
        ("integer", ["my_variable"], "My_Variable", "wrong_value"),
        ("array", [[1, 2], ""], [], "wrong_value"),
        ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [2, 1], "wrong_value"),
        ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [1, "2"], "wrong_type"),
        ({"type": "array", "items": {"type": "integer"}}, [[1]], [True], "wrong_type"),
        ({"type": "array", "items": {"type": "array"}}, [[[1]]], [[True]], "wrong_value"),
        ({"type": "dict"}, [{"a": [1]}], {"a": 1, "b": 2}, "wrong_value"),
        ({"type": "dict"}, [{"a": [1]}], {"a": True}, "wrong_value"),
        ({"type": "dict"}, [{"a": [1]}], {}, "wrong_value"),
    ],
)
def test_what_is_not_forgiven(kind: Any, allowed: list[Any], value: Any, why: str) -> None:
    assert reason({"p": value}, {"p": allowed}, p=kind) == why


def test_arguments_must_be_all_there_and_no_others() -> None:
    docs = [document("f", ["a"], a="integer", b="integer", c="integer")]
    gold = [{"f": {"a": [1], "b": [2], "c": ["", 3]}}]

    assert match_calls([Call("f", {"a": 1, "b": 2})], gold, docs).value == 1.0
    assert match_calls([Call("f", {"a": 1, "b": 2, "c": 3})], gold, docs).value == 1.0
    assert match_calls([Call("f", {"b": 2})], gold, docs).reason == "missing_argument"
    assert match_calls([Call("f", {"a": 1})], gold, docs).reason == "missing_argument"
    assert match_calls([Call("f", {"a": 1, "b": 2, "d": 4})], gold, docs).detail == "f: d"
    # Known to the document, and in no answer.
    gold = [{"f": {"a": [1], "b": [2]}}]
    assert match_calls([Call("f", {"a": 1, "b": 2, "c": 3})], gold, docs).detail == "f: c"
    assert match_calls([Call("F", {"a": 1, "b": 2})], gold, docs).reason == "wrong_function"
    assert match_calls("f(1, b=2)", gold, docs).reason == "unexpected_argument"


def test_calls_match_in_any_order_and_each_answer_once() -> None:
    docs = [document("f", a="integer")]
    wide, narrow = {"f": {"a": [1, 2]}}, {"f": {"a": [1]}}

    # The first call would also do for the first answer; only one pairing serves both.
    assert match_calls("[f(a=1), f(a=2)]", [wide, narrow], docs).value == 1.0
    assert match_calls("[f(a=2), f(a=1)]", [narrow, wide], docs).value == 1.0
    assert match_calls("[f(a=2), f(a=2)]", [wide, narrow], docs).value == 0.0
    assert match_calls("[f(a=1)]", [wide, narrow], docs).reason == "wrong_count"
    assert match_calls("[f(a=1), f(a=2), f(a=1)]", [wide, narrow], docs).reason == "wrong_count"


@pytest.mark.parametrize("output", ["Goethe wrote it.", "[]", [], '{"answer": 5}', "f", ""])
def test_no_call_is_right_where_none_is_asked_for(output: Any) -> None:
    assert match_calls(output, [], [document("f", a="integer")]).reason == "no_call"


@pytest.mark.parametrize("output", ["[f(a=1)]", "f(a=x)", "f(**x)", [{"f": {}}], "[f(a=1), 2]"])
def test_any_call_is_wrong_where_none_is_asked_for(output: Any) -> None:
    assert match_calls(output, [], [document("f", a="integer")]).reason == "unexpected_call"


def test_a_type_that_nobody_converts_is_undecided() -> None:
    docs = [document("f", a="Queue")]
    score = match_calls([{"f": {"a": "q"}}], [{"f": {"a": ["q"]}}], docs, "java")

    assert (score.value, score.reason) == (None, "unsupported_type")


@pytest.mark.parametrize(
    "answers, docs",
    [
        ([{"g": {}}], [document("f")]),
        ([{"f": {"a": 1}}], [document("f", a="integer")]),
        ([{"f": {}, "g": {}}], [document("f")]),
        ([{"f": {"a": [1]}}], [document("f", a="whole number")]),
        ([{"f": {"a": [1]}}], [{"name": "f"}]),
    ],
)
def test_a_malformed_row_is_the_operators_mistake(answers: Any, docs: Any) -> None:
    with pytest.raises(UsageError):
        match_calls("[f(a=1)]", answers, docs)
