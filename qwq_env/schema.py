"""JSON schemas for tools: derived from a function, and held against a model's arguments.

`signature_of` reads type hints and the `Args:` section of a docstring. `check_arguments`
validates (with `jsonschema`, draft 2020-12) and first mends what can be mended without
guessing: `"3"` for an integer, `3.0` for an integer, `7` for a string, `"true"` for a
boolean, a JSON text for an array or object. Anything else is refused with a sentence that
the model can act on.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from qwq_env.errors import UsageError, did_you_mean


class Signature(NamedTuple):
    """What a function's text says of it: `description`, and `parameters` as a JSON schema."""

    description: str
    parameters: dict[str, Any]


_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}
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


def signature_of(function: Callable[..., Any]) -> Signature:
    """Derive the description and the parameter schema of `function`."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise UsageError(f"tool {function.__name__}: a type hint is not defined: {error}") from None
    summary, documented = _read_docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        where = f"tool {function.__name__}, parameter {name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"{where}: a variable number of arguments has no schema")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(f"{where}: is positional-only, and arguments are passed by name")
        if name not in hints:
            raise UsageError(f"{where}: no type hint, and the schema is made of them")
        schema = _schema_of(hints[name], where)
        if name in documented:
            schema = {**schema, "description": documented[name]}
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None:
            schema = {**schema, "default": _json_default(parameter.default, where)}
        properties[name] = schema
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    parameters["additionalProperties"] = False
    return Signature(summary, parameters)


def _json_default(value: Any, where: str) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise UsageError(f"{where}: the default {value!r} has no JSON form") from None
    return value


def _schema_of(hint: Any, where: str) -> dict[str, Any]:
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return {**_schema_of(arguments[0], where), "description": str(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(argument, where) for argument in arguments]}
    if hint is list or origin is list:
        return {
            "type": "array",
            **({"items": _schema_of(arguments[0], where)} if arguments else {}),
        }
    if hint is dict or origin is dict:
        values = {"additionalProperties": _schema_of(arguments[1], where)} if arguments else {}
        return {"type": "object", **values}
    raise UsageError(f"{where}: the type {hint!r} has no JSON form; use str, Literal, list, ...")


_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):\s*$")
_ARGUMENT = re.compile(r"^\s*(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into its prose and its documented arguments."""
    prose: list[str] = []
    documented: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section, current = heading[1], ""
        elif not section:
            prose.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            indent = len(line) - len(line.lstrip())
            if (entry := _ARGUMENT.match(line)) and indent <= 4:
                current = entry[1]
                documented[current] = entry[2].strip()
            elif current and line.strip():
                documented[current] += " " + line.strip()
    return "\n".join(prose).strip(), documented


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
    schema: Mapping[str, Any], arguments: Any
) -> tuple[dict[str, Any], ArgumentError | None]:
    """Return the arguments, coerced where that loses nothing, and what is still wrong.

    `kind` is `arguments_type`, `missing_argument`, `extra_argument` or `wrong_type`. An object
    that was written as a JSON text is read; no arguments at all are an empty object. Raises
    `UsageError` for a schema that is not one.
    """
    arguments = {} if arguments is None else _coerce(arguments, {"type": "object"})
    if problem := measure(arguments).problem:
        return {}, ArgumentError("wrong_type", problem)
    if not isinstance(arguments, dict):
        problem = f"arguments must be a JSON object, not {_json_type(arguments)}"
        return {}, ArgumentError("arguments_type", problem)
    properties: Mapping[str, Any] = schema.get("properties", {})
    if _plainly_valid(schema, properties, arguments):
        return arguments, None
    coerced = {
        name: _coerce(value, properties[name]) if name in properties else value
        for name, value in arguments.items()
    }
    return coerced, _first_error(schema, properties, coerced)


_PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _plainly_valid(
    schema: Mapping[str, Any], properties: Mapping[str, Any], arguments: dict[str, Any]
) -> bool:
    """Say whether flat arguments are valid without asking jsonschema; False means unknown."""
    if not schema.keys() <= {"type", "properties", "required", "additionalProperties"}:
        return False
    for name, value in arguments.items():
        wanted = properties.get(name)
        if wanted is None or not wanted.keys() <= {"type", "description", "default", "title"}:
            return False
        kind = wanted.get("type")
        if kind not in _PLAIN or type(value) not in _PLAIN[kind]:
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
    error = _schema_error(json.dumps(schema, sort_keys=True), arguments)
    if error is None:
        return None
    place = ".".join(str(part) for part in error.absolute_path) or "arguments"
    return ArgumentError("wrong_type", f"{place}: {_shorten(error.message)}")


def _schema_error(schema: str, arguments: dict[str, Any]) -> Any:
    import jsonschema  # noqa: PLC0415 - heavy; needed only when the fast check is not enough
    import referencing.exceptions  # noqa: PLC0415 - likewise

    try:
        return next(_validator(schema).iter_errors(arguments), None)
    except jsonschema.SchemaError as error:
        raise UsageError(f"tool schema: {_shorten(error.message)}") from None
    except referencing.exceptions.Unresolvable as error:
        raise UsageError(f"tool schema: {_shorten(str(error))}") from None


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import jsonschema  # noqa: PLC0415 - heavy; needed only when the fast check is not enough
    import referencing.jsonschema  # noqa: PLC0415 - likewise

    validator = jsonschema.Draft202012Validator
    validator.check_schema(json.loads(schema))
    # With the default registry a "$ref" to a web address would be fetched.
    registry = referencing.jsonschema.EMPTY_REGISTRY
    return validator(json.loads(schema), registry=registry)


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


def _shorten(message: str, limit: int = 200) -> str:
    return (
        message
        if len(message) <= limit
        else f"{message[: limit // 2]} ... {message[-limit // 2 :]}"
    )


def _json_type(value: Any) -> str:
    for name, kinds in _TYPES.items():
        if name != "number" and isinstance(value, kinds):
            return name
    return type(value).__name__
