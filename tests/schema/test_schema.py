from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.schema.arguments import check_arguments, measure
from qwq_env.schema.signature import signature_of
from qwq_env.schema.validator import check_parameters


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


def without_json(x: bytes) -> int:
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
        """Say it."""
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


OBJECT: dict[str, Any] = {"type": "object"}
NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
}
FORMS: dict[str, Any] = {
    "a list of types": {"type": ["string", "null"]},
    "one type in a list": {"type": ["integer"]},
    "anything": True,
    "nothing": False,
    "no type": {"description": "whatever"},
    "const": {"const": 3},
    "enum": {"enum": ["a", 1, None]},
    "an integer with bounds": {"type": "integer", "minimum": 0, "multipleOf": 2},
    "anyOf": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
    "anyOf with a boolean": {"anyOf": [False, {"type": "number"}]},
    "oneOf": {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 5}]},
    "allOf": {"allOf": [{"type": "string"}, {"minLength": 1}]},
    "not": {"not": {"type": "string"}},
    "if": {"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "integer"}},
    "a reference": {"$ref": "#/$defs/node"},
    "a reference to the whole": {"type": "object", "properties": {"x": {"$ref": "#"}}},
    "a reference to JSON Schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    "an anchor": {"$ref": "#named"},
    "patterns": {"patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False},
    "names": {"propertyNames": {"pattern": "^[a-z]+$"}, "maxProperties": 2},
    "dependencies": {
        "dependentRequired": {"value": ["next"]},
        "dependentSchemas": {"next": {"required": ["value"]}},
    },
    "tuples": {"prefixItems": [{"type": "integer"}, True], "items": False},
    "sets": {"type": "array", "uniqueItems": True, "contains": {"type": "integer"}},
    "no others": {"properties": {"value": True}, "unevaluatedProperties": False},
    "a format": {"type": "string", "format": "date", "pattern": "^.*$"},
}


def whole(form: Any, **more: Any) -> dict[str, Any]:
    named = {"$anchor": "named", "type": ["integer", "null"]}
    return {**OBJECT, "properties": {"x": form}, "$defs": {"node": NODE, "named": named}, **more}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_schema_of_any_sound_form_is_a_tools(form: Any) -> None:
    check_parameters(whole(form))


@pytest.mark.parametrize(
    "schema",
    [
        {**OBJECT, "$schema": "http://json-schema.org/draft-07/schema#",
         "properties": {"x": {"items": [{"type": "integer"}], "$ref": "#/definitions/list"}},
         "definitions": {"list": {"type": "array"}}},
        {**OBJECT, "$schema": "http://json-schema.org/draft-04/schema#",
         "properties": {"x": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}},
        {**OBJECT, "$schema": "https://example.org/unknown", "properties": {"x": True}},
    ],
    ids=["draft-07", "draft-04", "unknown"],
)  # fmt: skip
def test_a_schema_may_name_its_draft(schema: dict[str, Any]) -> None:
    check_parameters(schema)

    assert (
        check_arguments(schema, {"x": [1]})[1] is None
        or check_arguments(schema, {"x": 1})[1] is None
    )


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"allOf": [{"$ref": "#"}]}, "refers to itself without end"),
        (whole({"$ref": "#/properties/x"}), "refers to itself without end"),
        (whole({"anyOf": [{"type": "string"}, {"$ref": "#/properties/x"}]}), "without end"),
        (whole({"if": True, "then": {"$ref": "#/properties/x"}}), "without end"),
        (
            whole({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/properties/x"}}}),
            "without end",
        ),
        (whole({"$ref": "#/$defs/missing"}), "leads nowhere"),
        (whole({"$ref": "#missing"}), "leads nowhere"),
        (whole({"$ref": "http://127.0.0.1:9/schema.json"}), "leads nowhere"),
        (whole({"$id": "urn:mine", "$ref": "#/$defs/missing"}), "leads nowhere"),
        (whole({"$ref": "#/properties/x/description", "description": "text"}), "is not of type"),
        (whole({"$ref": "#/other"}, other={"type": "integr"}), "'integr' is not valid"),
        (whole({"type": "integr"}), "'integr' is not valid"),
        (whole({"type": ["string", 3]}), "is not valid"),
        (whole(3), "is not of type"),
        (whole({"pattern": "("}), "is not a 'regex'"),
        (whole({"pattern": "a{99999999999999999999}"}), "too large a number"),
    ],
)
def test_a_schema_that_is_not_sound_is_refused_before_any_call(
    schema: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=r"^parameters: ") as refused:
        check_parameters({**OBJECT, **schema})

    assert told in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(UsageError):
        check_arguments(schema, {"x": "text"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "next", "x", "no"]), inner, max_size=3)
    ),
    max_leaves=8,
)


# No deadline: the first call of a schema makes its validator.
@given(
    st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["0", "1", "2", "x"]), _JSON | st.sampled_from(["1", "null"])),
    st.booleans(),
)
def test_any_arguments_are_taken_or_refused_by_any_schema(
    forms: list[str], arguments: dict[str, Any], required: bool
) -> None:
    import jsonschema

    properties = {str(index): FORMS[form] for index, form in enumerate(forms)}
    schema = whole(True, properties=properties, required=["0"] if required else [])
    taken, problem = check_arguments(schema, arguments)

    if problem is None:
        jsonschema.Draft202012Validator(schema).validate(taken)
    else:
        assert len(problem.message) < 600


@pytest.mark.parametrize(
    ("form", "given", "taken"),
    [
        ({"type": ["integer", "null"]}, "7", 7),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": ["integer", "string"]}, "7", "7"),
        ({"type": ["string", "null"]}, 7, "7"),
        ({"anyOf": [{"enum": ["1", "2"]}, {"type": "integer"}]}, "1", "1"),
        ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, "true", True),
        ({"enum": [1, 2, 3]}, "2", 2),
        ({"const": True}, "true", True),
        ({"type": "integer"}, 2.0, 2),
        ({"type": "array", "items": {"type": "integer"}}, [1.0, 2], [1, 2]),
        (
            {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
            [1.0],
            [1],
        ),
        ({"properties": {"n": {"type": "integer"}}}, {"n": 3.0, "m": 3.0}, {"n": 3, "m": 3.0}),
        ({"additionalProperties": {"type": "integer"}}, {"n": 3.0}, {"n": 3}),
        ({"type": "number"}, 2.0, 2.0),
        (True, "7", "7"),
        ({"type": ["array", "object"]}, "[1]", [1]),
        (NODE, '{"value": 1}', {"value": 1}),
    ],
)
def test_a_value_is_mended_where_there_is_one_way_to_read_it(
    form: Any, given: Any, taken: Any
) -> None:
    arguments, problem = check_arguments(whole(form), {"x": given})

    assert problem is None
    assert json.dumps(arguments["x"]) == json.dumps(taken)


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ({"type": "integer", "default": 3}, False),
        ({"enum": ["C", "F"]}, False),
        ({"$ref": "#/$defs/node"}, False),
        ({"not": {"type": "null"}}, False),
        ({"$ref": "#named"}, True),
        ({"type": ["integer", "null"]}, True),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, True),
        (True, True),
        ({}, True),
    ],
)
def test_null_for_an_optional_argument_that_takes_none_is_its_default(
    form: Any, kept: bool
) -> None:
    optional = check_arguments(whole(form), {"x": None})
    demanded = check_arguments(whole(form, required=["x"]), {"x": None})

    assert optional == ({"x": None} if kept else {}, None)
    assert (demanded[1] is None) == kept


@pytest.mark.parametrize(
    "form",
    [
        OBJECT | {"properties": {"y": {"type": "integer"}}},
        {"$ref": "#/$defs/node"},
        {"allOf": [{"$ref": "#/$defs/node"}], "description": "a node"},
        {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    ],
)
def test_null_for_an_optional_property_is_its_default_too(form: Any) -> None:
    name = "y" if "properties" in form else "value"
    listed = whole({"type": "array", "items": form})
    demanded = {"allOf": [form], "required": [name]}

    assert check_arguments(whole(form), {"x": {name: None}}) == ({"x": {}}, None)
    assert check_arguments(listed, {"x": [{name: None}, {name: 1}]})[0] == {"x": [{}, {name: 1}]}
    _, problem = check_arguments(whole(demanded), {"x": {name: None}})
    assert problem is not None


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ({"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}, [1, "a"], ["a", 1]),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, 1, 0),
        ({"type": "string", "nullable": True}, None, [1]),
        ({"type": "string", "enum": ["a"], "nullable": True}, None, "b"),
        ({"type": "string", "nullable": False}, "a", None),
    ],
)
def test_older_drafts_and_openapi(form: Any, right: Any, wrong: Any) -> None:
    schema = whole(form, required=["x"])
    check_parameters(schema)

    assert check_arguments(schema, {"x": right}) == ({"x": right}, None)
    assert check_arguments(schema, {"x": wrong})[1] is not None


def tower(depth: int) -> Any:
    value: Any = {"value": "no integer"}
    for _ in range(depth):
        value = {"next": value}
    return value


def defined(definition: Any) -> dict[str, Any]:
    return {**OBJECT, "properties": {"x": {"$ref": "#/$defs/d"}}, "$defs": {"d": definition}}


NEXT = {"$ref": "#/$defs/d"}
SLOW_PATTERN = "(x+)+y"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (whole({"uniqueItems": True}), [{"n": n} for n in range(9_000)]),
        (defined({"properties": {"next": {"allOf": [{"allOf": [NEXT]}]}}}), tower(60)),
        (defined({"properties": {"next": {"anyOf": [NEXT] * 2}}, "required": ["next"]}), tower(60)),
        (whole({"items": {"not": {"type": "string"}}}), [[]] * 90_000),
        (whole({"pattern": SLOW_PATTERN}), "x" * 20_000),
        (whole({"propertyNames": {"pattern": SLOW_PATTERN}}), {"x" * 20_000: 1}),
        (whole({"patternProperties": {SLOW_PATTERN: True}}), {"x" * 20_000: 1}),
    ],
    ids=["unique", "deep", "branching", "long", "pattern", "names", "named"],
)
def test_holding_arguments_against_a_schema_takes_bounded_work(
    schema: dict[str, Any], value: Any
) -> None:
    check_parameters(schema)
    start = time.process_time()
    check_arguments(schema, {"x": value}, characters=200_000)

    assert time.process_time() - start < 10


@given(st.dictionaries(st.sampled_from(["city", "days", "unit", "tags", "detail"]), _JSON) | _JSON)
def test_what_is_taken_satisfies_the_schema(arguments: Any) -> None:
    import jsonschema

    taken, problem = check_arguments(FORECAST, arguments)

    assert problem is not None or jsonschema.Draft202012Validator(FORECAST).is_valid(taken)


@pytest.mark.parametrize(
    "given",
    [
        {"a": "\ud800"}, {"a": ["é", {"b": "x\udfff"}]}, {"\udc80": 1}, {"a": {"\ud83d": "é"}},
        '{"a": "\\ud83d"}', '{"a": "\ud83d"}',
    ],
)  # fmt: skip
def test_half_a_letter_reaches_no_tool(given: Any) -> None:
    taken, problem = check_arguments({"type": "object"}, given)

    assert taken == {} and problem is not None
    assert problem.kind == "wrong_type" and "write the whole character" in problem.message
    assert check_arguments({"type": "object"}, {"a": "é😀\ue000\ufffd"})[1] is None
    assert check_arguments({"type": "object"}, '{"a": "\\ud83d\\ude00"}')[0] == {"a": "😀"}


def test_nesting_is_measured_without_recursion() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]

    assert measure(deep).problem == "nested deeper than 64 levels"
    assert measure({"a": ["bc", {"d": "e"}]}).characters == 11
    while deep != "x":  # freed from the outside in: the destructor recurses
        deep = deep[0]


def test_a_schema_that_is_not_one_is_the_operators_to_mend() -> None:
    with pytest.raises(UsageError, match="tool schema"):
        check_arguments({"type": "object", "properties": {"x": {"type": "integr"}}}, {"x": 1})


def test_a_reference_to_the_web_is_not_followed() -> None:
    schema = {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}

    with pytest.raises(UsageError, match="tool schema"):
        check_arguments(schema, {"x": 1})
