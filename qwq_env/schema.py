"""A tool's schema: what makes it one, and the validator of arguments made of it.

A schema is held against JSON Schema (draft 2020-12) where a tool is given to an environment, so
that a mistake in it is told there, and does not end the first episode that calls the tool.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from qwq_env.errors import UsageError

PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
PLAIN_SCHEMA = {"type", "properties", "required", "additionalProperties"}
PLAIN_PROPERTY = {"type", "description", "default", "title"}
"""What a schema and its entries may hold to be checked without jsonschema: scalars by name."""
_DATA = {"const", "default", "enum", "examples"}
_OWN_NAMES = {"$id", "$anchor", "$dynamicAnchor"}


def check_parameters(schema: object) -> None:
    """Raise `UsageError` unless `schema` is a JSON schema of an object, as a tool's must be."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise UsageError(f"parameters: {schema!r:.80}; expected a JSON schema of type 'object'")
    try:
        text = written(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"parameters: no JSON: {shorten(str(error))}") from None
    if problem := _schema_problem(text):
        raise UsageError(f"parameters: {problem}; expected a JSON schema (draft 2020-12)")


@functools.lru_cache(maxsize=256)
def _schema_problem(text: str) -> str:
    schema = json.loads(text)
    if _is_plain(schema):
        return ""
    import jsonschema  # noqa: PLC0415 - heavy; a plain schema does without it

    try:
        validator(text)
    except jsonschema.SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path) or "the schema"
        return f"{place}: {shorten(error.message)}"
    return _unresolved(schema)


def _unresolved(schema: Mapping[str, Any]) -> str:
    """Say which reference leads nowhere. Those of a schema with names of its own are not looked at.

    Nothing is ever fetched, so a web address leads nowhere too.
    """
    import referencing.exceptions  # noqa: PLC0415 - heavy; a plain schema does without it
    import referencing.jsonschema  # noqa: PLC0415 - likewise

    whole = referencing.jsonschema.DRAFT202012.create_resource(schema)
    resolver = referencing.jsonschema.EMPTY_REGISTRY.with_resource("", whole).resolver()
    parts: list[Any] = [schema]
    references: list[str] = []
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            if part.keys() & _OWN_NAMES:
                return ""
            if isinstance(reference := part.get("$ref"), str):
                references.append(reference)
            parts += [value for key, value in part.items() if key not in _DATA]
    for reference in references:
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable:
            return f"$ref {reference!r:.80} leads nowhere"
    return ""


def _is_plain(schema: Mapping[str, Any]) -> bool:
    """Say whether a schema is of scalars, and right; False means unknown."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return (
        schema.keys() <= PLAIN_SCHEMA
        and isinstance(properties, dict)
        and all(map(_is_plain_entry, properties.values()))
        and isinstance(required, list)
        and all(isinstance(name, str) for name in required)
        and isinstance(schema.get("additionalProperties", True), bool)
    )


def _is_plain_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() <= PLAIN_PROPERTY
        and isinstance(kind := entry.get("type"), str)
        and kind in PLAIN
        and isinstance(entry.get("description", ""), str)
        and isinstance(entry.get("title", ""), str)
    )


def written(schema: Mapping[str, Any]) -> str:
    """Return the schema as JSON, the same text for equal ones."""
    return json.dumps(dict(schema), sort_keys=True, allow_nan=False)


@functools.lru_cache(maxsize=256)
def validator(schema: str) -> Any:
    """Return what validates by a written schema; raises jsonschema's error for one that is none."""
    import jsonschema  # noqa: PLC0415 - heavy; needed only when the fast check is not enough
    import referencing.jsonschema  # noqa: PLC0415 - likewise

    validator = jsonschema.Draft202012Validator
    validator.check_schema(json.loads(schema))
    # With the default registry a "$ref" to a web address would be fetched.
    registry = referencing.jsonschema.EMPTY_REGISTRY
    return validator(json.loads(schema), registry=registry)


def shorten(message: str, limit: int = 200) -> str:
    """Return the head and the tail of a long message, which may quote what it is about."""
    return (
        message
        if len(message) <= limit
        else f"{message[: limit // 2]} ... {message[-limit // 2 :]}"
    )
