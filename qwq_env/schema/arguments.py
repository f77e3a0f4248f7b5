"""A model's arguments, held against the schema of the tool that it calls.

`check_arguments` validates (with `jsonschema`) and mends what is not valid and can be mended
without guessing: `"3"` for an integer, `7` for a string, `"true"` for a boolean, a JSON text for an
array or object, null for an optional argument that takes none (it gets its default), at any depth
that the schema's `properties`, `items` and references within it lead to. `3.0` for an
integer becomes 3, at any depth. Anything else is refused with a sentence that the model can act on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from qwq_env.errors import UsageError, did_you_mean
from qwq_env.schema.validator import (
    PLAIN,
    PLAIN_PROPERTY,
    PLAIN_SCHEMA,
    TooMuchToCheck,
    Validator,
    shorten,
    validator,
    written,
)

_MAX_DEPTH = 64
_MOST_NAME_CHARACTERS = 1_000
_MOST_BITS = 14_000
"""Of a whole number: Python writes at most 4300 digits."""
_LONG_NAME = f"a name of more than {_MOST_NAME_CHARACTERS} characters"
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
_NO_TEXT = "half of a surrogate pair (\\ud800 to \\udfff) is no text; write the whole character"
_NONE: frozenset[str] = frozenset()
_TYPES: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "array",
    dict: "object",
}


class Measure(NamedTuple):
    """How much text arguments hold, and what makes them unfit for any tool (`""`: nothing)."""

    characters: int
    problem: str = ""


def measure(arguments: Any) -> Measure:
    """Measure decoded JSON without recursion, so that no nesting is too deep to look at."""
    characters = 0
    level = [arguments]
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                characters += 2 + sum(map(len, value))
                if any(len(name) > _MOST_NAME_CHARACTERS for name in value):
                    return Measure(characters, _LONG_NAME)
                if not all(map(_is_text, value)):
                    return Measure(characters, _NO_TEXT)
                inner += value.values()
            elif isinstance(value, list):
                characters += 2
                inner += value
            elif isinstance(value, str):
                characters += len(value)
                if not _is_text(value):
                    return Measure(characters, _NO_TEXT)
            elif isinstance(value, float) and not math.isfinite(value):
                return Measure(characters, f"{value} is not a number in JSON")
            elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
                return Measure(characters, "a number is too large")
            else:
                characters += 8
        if not inner:
            return Measure(characters)
        level = inner
    return Measure(characters, f"nested deeper than {_MAX_DEPTH} levels")


def _is_text(value: str) -> bool:
    """Whether files, databases, programs and the network can be given it: UTF-8 can write it."""
    return value.isascii() or _HALF_A_PAIR.search(value) is None


class ArgumentError(NamedTuple):
    """Why arguments were refused: `kind` for counting, `message` for the model."""

    kind: str
    message: str


def check_arguments(
    schema: Mapping[str, Any], arguments: Any, *, characters: int | None = None
) -> tuple[dict[str, Any], ArgumentError | None]:
    """Return the arguments, coerced where that loses nothing, and what is still wrong.

    `kind` is `arguments_type`, `missing_argument`, `extra_argument`, `wrong_type`, or, where they
    hold more than `characters`, `arguments_too_long`. An object that was written as a JSON text is
    read; no arguments at all are an empty object. Raises `UsageError` for a schema that is none.
    """
    arguments = {} if arguments is None else arguments
    # What would cost too much to look at is refused before it is looked at.
    if problem := _unfit(arguments, characters):
        return {}, problem
    if isinstance(arguments, str):
        arguments = _coerce(arguments, {"type": "object"})
        if problem := _unfit(arguments, characters):
            return {}, problem
    if not isinstance(arguments, dict):
        wanted = f"arguments must be a JSON object, not {_json_type(arguments)}"
        return {}, ArgumentError("arguments_type", wanted)
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise UsageError(f"tool schema: properties: {properties!r:.80}; expected an object")
    if _plainly_valid(schema, properties, arguments):
        return arguments, None
    try:
        whole = validator(written(schema))
    except UsageError as error:
        raise UsageError(f"tool schema: {error}") from None
    try:
        return _mended(schema, properties, arguments, whole)
    except TooMuchToCheck:
        return {}, ArgumentError(
            "wrong_type", "arguments: too many, or nested too deeply, to check"
        )
    except OverflowError:
        # `multipleOf` divides by a float.
        return {}, ArgumentError("wrong_type", "arguments: a number is too large")


def _mended(
    schema: Mapping[str, Any],
    properties: Mapping[str, Any],
    arguments: dict[str, Any],
    whole: Validator,
) -> tuple[dict[str, Any], ArgumentError | None]:
    """Return arguments that are valid as they stand; what is not is mended first."""
    problem = None
    if whole.error(arguments) is not None:
        arguments = {
            name: _coerce(value, _target(properties.get(name), schema))
            for name, value in arguments.items()
        }
        arguments = _without_nulls(arguments, schema, schema, whole)
        problem = _first_error(schema, properties, arguments, whole)
    return {
        name: whole_numbers(arguments[name], properties.get(name), schema) for name in arguments
    }, problem


def _without_nulls(value: Any, part: Any, schema: Mapping[str, Any], whole: Validator) -> Any:
    """Return `value` without the nulls of optional properties that take none."""
    part = _resolved(part, schema)
    if isinstance(value, list) and isinstance(inner := part.get("items"), Mapping):
        return [_without_nulls(item, inner, schema, whole) for item in value]
    properties = part.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        return value
    required = part.get("required", ())
    kept = {}
    for name, item in value.items():
        wanted = properties.get(name, True)
        if item is None and name not in required and not whole.takes(wanted, None):
            continue
        kept[name] = _without_nulls(item, wanted, schema, whole)
    return kept


def _target(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema behind the references of `part` to places inside `schema`."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(part, Mapping):
            return {}
        reference = part.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return part
        part = schema
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            part = part.get(step) if isinstance(part, Mapping) else None
    return {}


def _resolved(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that `part` comes to: behind its references, or beside null."""
    for _ in range(_MAX_DEPTH):
        found = _target(part, schema)
        options = [each for each in found.get("anyOf", ()) if _kinds(each) != frozenset({"null"})]
        if len(options) == 1:
            part = options[0]
        elif len(found.get("allOf", ())) == 1 and "properties" not in found:
            part = found["allOf"][0]
        else:
            return found
    return {}


def _unfit(arguments: Any, characters: int | None) -> ArgumentError | None:
    measured = measure(arguments)
    if characters is not None and measured.characters > characters:
        too_long = f"arguments of {measured.characters} characters; at most {characters}"
        return ArgumentError("arguments_too_long", too_long)
    if measured.problem:
        return ArgumentError("wrong_type", measured.problem)
    return None


def _plainly_valid(
    schema: Mapping[str, Any], properties: Mapping[str, Any], arguments: dict[str, Any]
) -> bool:
    """Say whether flat arguments are valid without asking jsonschema; False means unknown."""
    if not schema.keys() <= PLAIN_SCHEMA:
        return False
    for name, value in arguments.items():
        wanted = properties.get(name)
        if not isinstance(wanted, Mapping) or not wanted.keys() <= PLAIN_PROPERTY:
            return False
        kind = wanted.get("type")
        if not isinstance(kind, str) or type(value) not in PLAIN.get(kind, ()):
            return False
    return all(name in arguments for name in schema.get("required", ()))


def _first_error(
    schema: Mapping[str, Any],
    properties: Mapping[str, Any],
    arguments: dict[str, Any],
    whole: Validator,
) -> ArgumentError | None:
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if missing:
        return ArgumentError(
            "missing_argument",
            f"missing {', '.join(map(repr, missing))}; {_expectation(properties, schema)}",
        )
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        extra = [name for name in arguments if name not in properties]
        if extra:
            hint = did_you_mean(extra[0], properties)
            return ArgumentError(
                "extra_argument",
                f"unexpected {extra[0][:80]!r}{hint}; {_expectation(properties, schema)}",
            )
    error = whole.error(arguments)
    if error is None:
        return None
    place = ".".join(str(part) for part in error.absolute_path) or "arguments"
    return ArgumentError("wrong_type", f"{place}: {shorten(error.message)}")


def _kinds(schema: Any) -> frozenset[str] | None:
    """Return the JSON types that a schema takes, so far as it says so itself; None if it does not.

    Types that a reference or another condition would say are not looked for: what is not sure is
    not mended.
    """
    if not isinstance(schema, Mapping):
        return None
    if (kind := schema.get("type")) is not None:
        return frozenset([kind] if isinstance(kind, str) else kind)
    if "const" in schema:
        return frozenset([_json_type(schema["const"])])
    if "enum" in schema:
        return frozenset(map(_json_type, schema["enum"]))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            options = [_kinds(option) for option in schema[keyword]]
            known = [kinds for kinds in options if kinds is not None]
            return frozenset().union(*known) if len(known) == len(options) else None
    return None


def _is_of(value: Any, kinds: frozenset[str]) -> bool:
    """Say whether `value` has one of the JSON types; an integer is a number."""
    kind = _json_type(value)
    return kind in kinds or (kind == "integer" and "number" in kinds)


def _coerce(value: Any, schema: Any) -> Any:
    """Return the value of a type that `schema` takes, if there is one way only to read it so."""
    kinds = _kinds(schema)
    if kinds is None or _is_of(value, kinds):
        return value
    if isinstance(value, str):
        return _coerce_text(value, kinds)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and kinds & {"string", "number", "integer"} == {"string"}:
        return json.dumps(value)
    return value


def _coerce_text(text: str, kinds: frozenset[str]) -> Any:
    """Read a JSON text where the schema wants something else than a string."""
    if len(text) > 100_000:
        return text
    try:
        value = json.loads(text.strip())
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and value.is_integer() and "number" not in kinds:
        value = int(value)
    return value if _is_of(value, kinds) else text


def whole_numbers(value: Any, part: Any, schema: Mapping[str, Any]) -> Any:
    """Return `value` with 3.0 as 3 wherever `part`, inside `schema`, asks for an integer."""
    if not isinstance(value, float | list | dict):
        return value
    part = _target(part, schema)
    kinds = _kinds(part)
    if isinstance(value, float):
        asked = kinds is not None and "integer" in kinds and "number" not in kinds
        return int(value) if asked and value.is_integer() else value
    for keyword in ("anyOf", "oneOf"):
        options = [_target(option, schema) for option in part.get(keyword, ())]
        fitting = [option for option in options if _is_of(value, _kinds(option) or _NONE)]
        if len(fitting) == 1:
            return whole_numbers(value, fitting[0], schema)
    if isinstance(value, list):
        first = part.get("prefixItems", [])
        return [
            whole_numbers(item, first[at] if at < len(first) else part.get("items"), schema)
            for at, item in enumerate(value)
        ]
    properties, others = part.get("properties", {}), part.get("additionalProperties")
    return {
        name: whole_numbers(value[name], properties.get(name, others), schema) for name in value
    }


def _expectation(properties: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    parts = [
        f"{name}: {'|'.join(sorted(_kinds(entry) or ['any']))}"
        + ("" if name in required else " (optional)")
        for name, entry in properties.items()
    ]
    return "expected {" + ", ".join(parts) + "}"


def _json_type(value: Any) -> str:
    return _TYPES.get(type(value), type(value).__name__)
