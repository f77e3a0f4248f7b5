"""Java and JavaScript: from source text to values, and to matches."""

from typing import Any

import pytest

from qwq_env.grading.calls import NoCalls, UnreadableCall, match_calls
from qwq_env.grading.calls.java import convert as java
from qwq_env.grading.calls.javascript import convert as javascript
from qwq_env.grading.calls.source import parse_source_calls


@pytest.mark.parametrize(
    "source, kind, nested, value",
    [
        ("42", "integer", None, 42),
        ("-7", "short", None, -7),
        ("4.2", "integer", None, "4.2"),
        ("3L", "long", None, 3),
        ("3", "long", None, "3"),
        ("3.5f", "float", None, 3.5),
        ("3.5", "float", None, "3.5"),
        ("3e2", "double", None, 300.0),
        ("true", "boolean", None, True),
        ("True", "boolean", None, "True"),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ("new int[] { }", "Array", "integer", []),
        ('new String[]{"a, b", "c"}', "Array", "String", ["a, b", "c"]),
        ('new Object[]{1, "a", true, x}', "Array", None, [1, "a", True, "x"]),
        ("new ArrayList<>()", "ArrayList", None, []),
        ("new ArrayList<Long>(Arrays.asList(1L, 2L))", "ArrayList", "long", [1, 2]),
        ("new ArrayList<>() {{ add('a'); add('b'); }}", "ArrayList", "char", ["a", "b"]),
        ("new HashMap<>()", "HashMap", None, {}),
        (
            'new HashMap<String, Object>() {{ put("a;b", "x, y"); put("n", 2.5f); }}',
            "HashMap",
            None,
            {"a;b": "x, y", "n": 2.5},
        ),
        ("someVariable", "ArrayList", None, "someVariable"),
        ("new int[]{1, 2", "Array", "integer", "new int[]{1, 2"),
        ("123", "any", None, "123"),
    ],
)
def test_java(source: str, kind: str, nested: str | None, value: Any) -> None:
    assert java(source, kind, nested) == value
    assert type(java(source, kind, nested)) is type(value)


@pytest.mark.parametrize(
    "source, kind, nested, value",
    [
        ("'a'", "String", None, "a"),
        ("a", "String", None, "a"),
        ("3", "integer", None, 3),
        ("3", "float", None, 3.0),
        ("3.", "float", None, "3."),
        ("12n", "Bigint", None, 12),
        ("true", "Boolean", None, True),
        ("[1, 'two', true]", "array", None, [1, "two", True]),
        ("[ [1, 2], [3] ]", "array", "array", [[1, 2], [3]]),
        ("new Array('a,b', \"c\")", "array", "String", ["a,b", "c"]),
        ("[]", "array", "float", []),
        ("{}", "dict", None, {}),
        ("{a: [1, {b: 'x'}], \"c\": -2.5e1}", "dict", None, {"a": [1, {"b": "x"}], "c": -25.0}),
        ("{a}", "dict", None, "{a}"),
        ("someVariable", "array", None, "someVariable"),
        ("[" * 3000 + "]" * 3000, "dict", None, "[" * 3000 + "]" * 3000),
    ],
)
def test_javascript(source: str, kind: str, nested: str | None, value: Any) -> None:
    assert javascript(source, kind, nested) == value
    assert type(javascript(source, kind, nested)) is type(value)


def test_calls_are_read_from_source() -> None:
    (first, second) = parse_source_calls('[A.run(x=new int[]{1, 2}, y="a, b"), go()]')

    assert (first.name, first.arguments) == ("A.run", {"x": "new int[]{1, 2}", "y": "a, b"})
    assert (second.name, second.arguments) == ("go", {})


@pytest.mark.parametrize("text", ["prose", "f(", "f(a=1))", "f(a=')", "1(a=2)"])
def test_other_source_is_no_call(text: str) -> None:
    with pytest.raises(NoCalls):
        parse_source_calls(text)


@pytest.mark.parametrize("text", ["f(1)", "f(a=1, a=2)", "f(a.b=1)"])
def test_an_argument_needs_a_name_of_its_own(text: str) -> None:
    with pytest.raises(UnreadableCall):
        parse_source_calls(text)


def test_a_match_converts_by_the_documents_types() -> None:
    properties = {"ids": {"type": "ArrayList", "items": {"type": "long"}}, "on": {"type": "any"}}
    docs = [{"name": "C.f", "parameters": {"properties": properties, "required": ["ids"]}}]
    gold = [{"C.f": {"ids": [[1, 2]], "on": ["server"]}}]
    right = "C.f(ids=new ArrayList<>(Arrays.asList(1L, 2L)), on=server)"

    assert match_calls(right, gold, docs, "java").value == 1.0
    assert match_calls(right.replace("2L", "2"), gold, docs, "java").reason == "wrong_type"
    assert match_calls(right.replace("2L", "3L"), gold, docs, "java").reason == "wrong_value"
    structured = [{"C.f": {"ids": [1, 2], "on": "server"}}]
    assert match_calls(structured, gold, docs, "java").reason == "wrong_type"
