"""A model's arguments, held against the schema of the tool that it calls.

`check_arguments` validates (with `jsonschema`, draft 2020-12) and first mends what can be mended
without guessing: `"3"` for an integer, `3.0` for an integer, `7` for a string, `"true"` for a
boolean, a JSON text for an array or object. Anything else is refused with a sentence that the
model can act on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qwq_env.errors import UsageError, did_you_mean
from qwq_env.schema import PLAIN, PLAIN_PROPERTY, PLAIN_SCHEMA, shorten, validator, written

_MAX_DEPTH = 64
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
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
                inner += value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                characters += len(value)
            elif isinstance(value, float) and not math.isfinite(value):
                return Measure(characters, f"{value} is not a number in JSON")
            else:
                characters += 8
        if not inner:
            return Measure(characters)
        level = inner
    return Measure(characters, f"nested deeper than {_MAX_DEPTH} levels")


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
    properties: Mapping[str, Any] = schema.get("properties", {})
    if _plainly_valid(schema, properties, arguments):
        return arguments, None
    coerced = {
        name: _coerce(value, properties[name]) if name in properties else value
        for name, value in arguments.items()
    }
    return coerced, _first_error(schema, properties, coerced)


def _unfit(arguments: Any, characters: int | None) -> ArgumentError | None:
    measured = measure(arguments)
    if measured.problem:
        return ArgumentError("wrong_type", measured.problem)
    if characters is not None and measured.characters > characters:
        too_long = f"arguments of {measured.characters} characters; at most {characters}"
        return ArgumentError("arguments_too_long", too_long)
    return None


def _plainly_valid(
    schema: Mapping[str, Any], properties: Mapping[str, Any], arguments: dict[str, Any]
) -> bool:
    """Say whether flat arguments are valid without asking jsonschema; False means unknown."""
    if not schema.keys() <= PLAIN_SCHEMA:
        return False
    for name, value in arguments.items():
        wanted = properties.get(name)
        if wanted is None or not wanted.keys() <= PLAIN_PROPERTY:
            return False
        kind = wanted.get("type")
        if kind not in PLAIN or type(value) not in PLAIN[kind]:
            return False
    return all(name in arguments for name in schema.get("required", ()))


def _first_error(
    schema: Mapping[str, Any], properties: Mapping[str, Any], arguments: dict[str, Any]
) -> ArgumentError | None:
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if missing:
        return ArgumentError(
            "missing_argument",
            f"missing {', '.join(map(repr, missing))}; {_expectation(properties, schema)}",
        )
    if schema.get("additionalProperties") is False:
        extra = [name for name in arguments if name not in properties]
        if extra:
            hint = did_you_mean(extra[0], properties)
            return ArgumentError(
                "extra_argument",
                f"unexpected {extra[0][:80]!r}{hint}; {_expectation(properties, schema)}",
            )
    try:
        error = _schema_error(written(schema), arguments)
    except OverflowError:
        # `multipleOf` divides by a float.
        return ArgumentError("wrong_type", "arguments: a number is too large")
    if error is None:
        return None
    place = ".".join(str(part) for part in error.absolute_path) or "arguments"
    return ArgumentError("wrong_type", f"{place}: {shorten(error.message)}")


def _schema_error(schema: str, arguments: dict[str, Any]) -> Any:
    import jsonschema  # noqa: PLC0415 - heavy; needed only when the fast check is not enough
    import referencing.exceptions  # noqa: PLC0415 - likewise

    try:
        return next(validator(schema).iter_errors(arguments), None)
    except jsonschema.SchemaError as error:
        raise UsageError(f"tool schema: {shorten(error.message)}") from None
    except referencing.exceptions.Unresolvable as error:
        raise UsageError(f"tool schema: {shorten(str(error))}") from None
    except RecursionError:
        raise UsageError("tool schema: it refers to itself without end") from None


def _coerce(value: Any, schema: Mapping[str, Any]) -> Any:
    if "anyOf" in schema:
        return _coerce_to_any(value, schema["anyOf"])
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _TYPES or _is_of(value, kind):
        return value
    if isinstance(value, str):
        return _coerce_text(value, kind)
    if kind == "integer" and isinstance(value, float) and math.isfinite(value):
        return int(value) if value == int(value) else value
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


def _coerce_to_any(value: Any, options: Sequence[Mapping[str, Any]]) -> Any:
    if any(_is_of(value, option.get("type")) for option in options):
        return value
    for option in options:
        coerced = _coerce(value, option)
        if _is_of(coerced, option.get("type")):
            return coerced
    return value


def _is_of(value: Any, kind: Any) -> bool:
    """Say whether `value` has the JSON type `kind`; True is not an integer in JSON."""
    if not isinstance(kind, str) or kind not in _TYPES:
        return False
    return isinstance(value, _TYPES[kind]) and (kind == "boolean") == isinstance(value, bool)


def _coerce_text(text: str, kind: str) -> Any:
    """Read a JSON text where the schema wants something else than a string."""
    if len(text) > 100_000:
        return text
    try:
        value = json.loads(text.strip())
    except (ValueError, RecursionError):
        return text
    if kind == "integer" and isinstance(value, float) and math.isfinite(value):
        value = int(value) if value == int(value) else value
    return value if _is_of(value, kind) else text


def _expectation(properties: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    parts = [
        f"{name}: {entry.get('type', 'any')}" + ("" if name in required else " (optional)")
        for name, entry in properties.items()
    ]
    return "expected {" + ", ".join(parts) + "}"


def _json_type(value: Any) -> str:
    for name, kinds in _TYPES.items():
        if name != "number" and isinstance(value, kinds):
            return name
    return type(value).__name__
