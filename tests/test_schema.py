from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.arguments import check_arguments, measure
from qwq_env.errors import UsageError
from qwq_env.signature import signature_of


def forecast(
    city: str,
    days: int = 3,
    unit: Literal["C", "F"] = "C",
    tags: list[str] | None = None,
    detail: Annotated[bool, "Say more."] = False,
) -> str:
    """Say what the weather will be.

    It may be wrong.

    Args:
        city: The city's name,
            in English.
        days (int): How far ahead.

    Returns:
        A sentence.
    """
    return f"{city} {days} {unit} {tags} {detail}"


def test_a_signature_becomes_a_schema() -> None:
    signature = signature_of(forecast)

    assert signature.description == "Say what the weather will be.\n\nIt may be wrong."
    assert signature.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city's name, in English."},
            "days": {"type": "integer", "description": "How far ahead.", "default": 3},
            "unit": {"enum": ["C", "F"], "default": "C"},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            "detail": {"type": "boolean", "description": "Say more.", "default": False},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def untyped(x):  # type: ignore[no-untyped-def]
    return x


def variable(*numbers: int) -> int:
    return sum(numbers)


def positional(x: int, /) -> int:
    return x


def without_json(x: set[int]) -> int:
    return len(x)


def odd_default(x: int = object()) -> int:  # type: ignore[assignment]
    return x


@pytest.mark.parametrize("function", [untyped, variable, positional, without_json, odd_default])
def test_a_function_without_a_schema_is_refused(function: Any) -> None:
    with pytest.raises(UsageError, match=f"tool {function.__name__}, parameter"):
        signature_of(function)


def bad_key(x: dict[int, str]) -> str:
    return str(x)


def bad_literal(x: Literal[b"a"]) -> str:
    return str(x)


def no_number(x: float = float("nan")) -> float:
    return x


@pytest.mark.parametrize("function", [bad_key, bad_literal, no_number])
def test_a_hint_that_json_cannot_write_is_refused(function: Any) -> None:
    with pytest.raises(UsageError, match=f"^tool {function.__name__}, parameter x: "):
        signature_of(function)


@pytest.mark.parametrize("hint", ["Missing", "typing.Missing", "int |", "1 + ''"])
def test_a_hint_that_cannot_be_resolved_is_named(hint: str) -> None:
    def odd(x: int) -> str:
        return str(x)

    odd.__annotations__["x"] = hint
    with pytest.raises(UsageError, match=r"^tool odd: a type hint cannot be resolved: ") as refused:
        signature_of(odd)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [5, "text", int, max])
def test_what_is_no_function_has_no_schema(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^tool"):
        signature_of(value)


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_beyond_any_float_is_refused_where_it_must_be_divided(number: int) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "number", "multipleOf": 0.5}}}
    _, problem = check_arguments(schema, {"x": number})

    assert problem == ("wrong_type", "arguments: a number is too large")


def test_a_schema_that_never_ends_is_the_operators_to_mend() -> None:
    schema = {"type": "object", "allOf": [{"$ref": "#"}]}

    with pytest.raises(UsageError, match="refers to itself without end"):
        check_arguments(schema, {})


FORECAST = signature_of(forecast).parameters


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"city": "Rome"}, {"city": "Rome"}),
        ({"city": "Rome", "days": "5"}, {"city": "Rome", "days": 5}),
        ({"city": "Rome", "days": 5.0}, {"city": "Rome", "days": 5}),
        ({"city": 7}, {"city": "7"}),
        ({"city": "Rome", "detail": "true"}, {"city": "Rome", "detail": True}),
        ({"city": "Rome", "tags": '["a"]'}, {"city": "Rome", "tags": ["a"]}),
        ({"city": "Rome", "tags": None}, {"city": "Rome", "tags": None}),
        ('{"city": "Rome"}', {"city": "Rome"}),
    ],
)
def test_what_loses_nothing_is_mended(given: Any, taken: dict[str, Any]) -> None:
    arguments, problem = check_arguments(FORECAST, given)

    assert problem is None
    assert arguments == taken
    assert [type(value) for value in arguments.values()] == [type(v) for v in taken.values()]


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({}, "missing_argument", "'city'"),
        (None, "missing_argument", "expected {city: string"),
        ({"cty": "Rome"}, "missing_argument", "'city'"),
        ({"city": "Rome", "day": 3}, "extra_argument", "did you mean 'days'"),
        ({"city": "Rome", "days": "soon"}, "wrong_type", "days: 'soon'"),
        ({"city": "Rome", "days": 2.5}, "wrong_type", "days: 2.5"),
        ({"city": "Rome", "days": True}, "wrong_type", "days: True"),
        ({"city": ["Rome"]}, "wrong_type", "city: ['Rome']"),
        ({"city": "Rome", "unit": "K"}, "wrong_type", "'K' is not one of"),
        ({"city": "Rome", "tags": [1]}, "wrong_type", "tags"),
        ({"city": float("nan")}, "wrong_type", "nan is not a number"),
        ([], "arguments_type", "not array"),
        ("Rome", "arguments_type", "not string"),
        ("[" * 50_000, "arguments_type", "not string"),
        (3, "arguments_type", "not integer"),
    ],
)
def test_anything_else_is_refused_with_what_was_wanted(given: Any, kind: str, words: str) -> None:
    _, problem = check_arguments(FORECAST, given)

    assert problem is not None
    assert (problem.kind, words in problem.message) == (kind, True), problem.message
    assert len(problem.message) < 500


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["city", "days", "unit", "tags", "detail"]), _JSON) | _JSON)
def test_what_is_taken_satisfies_the_schema(arguments: Any) -> None:
    import jsonschema

    taken, problem = check_arguments(FORECAST, arguments)

    assert problem is not None or jsonschema.Draft202012Validator(FORECAST).is_valid(taken)


def test_nesting_is_measured_without_recursion() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]

    assert measure(deep).problem == "nested deeper than 64 levels"
    assert measure({"a": ["bc", {"d": "e"}]}).characters == 5
    while deep != "x":  # freed from the outside in: the destructor recurses
        deep = deep[0]


def test_a_schema_that_is_not_one_is_the_operators_to_mend() -> None:
    with pytest.raises(UsageError, match="tool schema"):
        check_arguments({"type": "object", "properties": {"x": {"type": "integr"}}}, {"x": 1})


def test_a_reference_to_the_web_is_not_followed() -> None:
    schema = {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}

    with pytest.raises(UsageError, match="tool schema"):
        check_arguments(schema, {"x": 1})
