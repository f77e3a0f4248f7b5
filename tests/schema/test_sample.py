"""Arguments drawn at random fit the schemas that they are drawn from."""

from __future__ import annotations

import random

import jsonschema
import pytest

from qwq_env.schema.sample import sample_arguments

NODE = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["next"],
}
FIELDS = [
    {"type": "string"},
    {"type": "string", "minLength": 12, "maxLength": 14},
    {"type": "string", "pattern": "^[a-z]+$"},
    {"type": "string", "format": "date"},
    {"enum": ["a", 1, None]},
    {"const": {"x": 1}},
    {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "maximum": -2000},
    {"type": "integer", "multipleOf": 7, "minimum": 1},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
    {"type": ["boolean", "null"]},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
    {"type": "array", "items": {"enum": [1, 2, 3, 4, 5, 6]}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "null"}}}, {"required": ["a"]}]},
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "either"},
    {"$ref": "#/$defs/node"},
    {"minimum": 4},
    {"properties": {"deep": {"properties": {"er": {"type": "boolean"}}, "required": ["er"]}}},
    {},
    True,
]


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_what_is_drawn_fits(field) -> None:
    schema = {
        "type": "object",
        "properties": {"f": field},
        "required": ["f"],
        "additionalProperties": False,
        "$defs": {"node": NODE},
    }
    validator = jsonschema.Draft202012Validator(schema)
    for seed in range(60):
        validator.validate(sample_arguments(schema, random.Random(seed), ["ann", "17", "Move"]))


def test_a_seed_draws_the_same_and_words_of_the_task_are_among_them() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "amount": {"type": "integer"}},
        "required": ["name"],
    }

    def drawn(words: list[str]) -> list[dict]:
        return [sample_arguments(schema, random.Random(seed), words) for seed in range(80)]

    given = drawn(["Pay", "ann,", "4321."])
    assert given == drawn(["Pay", "ann,", "4321."])
    assert {"Pay", "ann"} <= {arguments["name"] for arguments in given}
    assert 4321 in {arguments.get("amount") for arguments in given}
    assert any("amount" not in arguments for arguments in given)


def test_what_cannot_end_ends() -> None:
    node = {"type": "object", "properties": {"n": {"$ref": "#"}}, "required": ["n"]}

    assert "n" in sample_arguments(node, random.Random(0))
    assert sample_arguments({"$ref": "#/nowhere"}, random.Random(0)) == {}
