"""A tool's schema: what makes it one, and the validator of arguments made of it.

A schema is held against JSON Schema (draft 2020-12, or the draft that its `$schema` names; without
one also an older draft that it is sound in, and OpenAPI's `nullable` counts) where a tool is given
to an environment, so that a mistake in it is told there, and does not end the first episode that
calls the tool: an unknown type, a reference that leads nowhere, a schema that applies itself to the
same value without end. Nothing is ever fetched.

Checking a model's arguments takes bounded work, whatever schema and arguments are: at most
`MOST_CHECKS` keywords are applied, texts are held against a `pattern` up to `MOST_PATTERN_TEXT`
characters. A pattern that is slow on a short text is the operator's.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

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

MOST_CHECKS: Final = 30_000
MOST_PATTERN_TEXT: Final = 10_000

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf", "extends")
_IN_PLACE_BY_NAME = ("dependentSchemas", "dependencies")
"""Keywords whose schemas are applied to the very value that the keyword's own is applied to."""


class TooMuchToCheck(Exception):
    """Holding the arguments against the schema would take more than `MOST_CHECKS` checks."""


def check_parameters(schema: object) -> None:
    """Raise `UsageError` unless `schema` is a JSON schema of an object, as a tool's must be."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise UsageError(f"parameters: {schema!r:.80}; expected a JSON schema of type 'object'")
    try:
        text = written(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"parameters: no JSON: {shorten(str(error))}") from None
    if not _is_plain(json.loads(text)):
        try:
            validator(text)
        except UsageError as problem:
            expected = "expected a JSON schema (draft 2020-12)"
            raise UsageError(f"parameters: {problem}; {expected}") from None


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
def validator(schema: str) -> Validator:
    """Return what validates by a written schema; raises `UsageError` for one that is not sound."""
    return Validator(json.loads(schema))


class Validator:
    """A sound schema, ready to be applied. Raises `UsageError` for one that is not sound."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        import jsonschema  # noqa: PLC0415 - heavy; a plain schema does without it

        try:
            kind = _draft(schema)
            _check_references(schema, kind)
        except jsonschema.SchemaError as error:
            place = ".".join(str(part) for part in error.absolute_path) or "the schema"
            raise UsageError(f"{place}: {shorten(error.message)}") from None
        except (RecursionError, OverflowError):
            raise UsageError(
                "the schema is nested too deeply, or holds too large a number"
            ) from None
        self._validator = _bounded(kind)(schema, registry=_registry())

    def error(self, arguments: Any) -> Any:
        """Return jsonschema's first error, None if there is none. Raises `TooMuchToCheck`."""
        _budget.left = MOST_CHECKS
        try:
            return next(self._validator.iter_errors(arguments), None)
        except RecursionError:
            raise TooMuchToCheck from None

    def takes(self, part: Any, value: Any) -> bool:
        """Say whether `value` satisfies `part`, a schema inside this one."""
        _budget.left = MOST_CHECKS
        return bool(self._validator.evolve(schema=part).is_valid(value))


def _draft(schema: Mapping[str, Any]) -> Any:
    """Return the validator class of a schema's draft: of those that it is sound in, the newest.

    Raises jsonschema's `SchemaError`. Servers write tuples and bounds of old drafts, and no
    `$schema`.
    """
    import jsonschema  # noqa: PLC0415 - loaded by now

    newest = jsonschema.Draft202012Validator
    kinds: list[Any] = [jsonschema.validators.validator_for(schema, default=newest)]
    if "$schema" not in schema:
        kinds += [jsonschema.Draft7Validator, jsonschema.Draft4Validator]
    errors = []
    for kind in kinds:
        try:
            kind.check_schema(dict(schema))
        except jsonschema.SchemaError as error:
            errors.append(error)
        else:
            return kind
    raise errors[0]


def _registry() -> Any:
    """Return the schemas that a reference may name from outside: those of JSON Schema itself."""
    # A part of jsonschema.
    import jsonschema_specifications  # type: ignore[import-untyped]  # noqa: PLC0415

    return jsonschema_specifications.REGISTRY


def _check_references(schema: Mapping[str, Any], kind: Any) -> None:
    """Raise `UsageError` for a reference that leads to no schema, or round in a circle.

    A circle is one in which no step goes from a value to a part of it: it would never end.
    """
    import referencing  # noqa: PLC0415 - a part of jsonschema
    import referencing.exceptions  # noqa: PLC0415 - likewise
    import referencing.jsonschema  # noqa: PLC0415 - likewise

    dialect = referencing.jsonschema.specification_with(kind.META_SCHEMA["$schema"])
    whole = referencing.Resource.from_contents(schema, default_specification=dialect)
    found = [(whole, _registry().resolver_with_root(whole))]
    in_place: dict[int, list[Any]] = {}
    while found:
        part, resolver = found.pop()
        if not isinstance(part.contents, dict) or id(part.contents) in in_place:
            continue
        in_place[id(part.contents)] = targets = _applied_in_place(part.contents)
        for keyword in _REFERENCES:
            if not isinstance(reference := part.contents.get(keyword), str):
                continue
            try:
                resolved = resolver.lookup(reference)
            except (referencing.exceptions.Unresolvable, referencing.exceptions.NoSuchAnchor):
                raise UsageError(f"{keyword} {reference!r:.80} leads nowhere") from None
            kind.check_schema(resolved.contents)
            target = referencing.Resource.from_contents(
                resolved.contents, default_specification=dialect
            )
            targets.append(resolved.contents)
            found.append((target, resolved.resolver))
        found += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]
    _check_for_circles(in_place)


def _applied_in_place(schema: Mapping[str, Any]) -> list[Any]:
    applied = [schema[keyword] for keyword in _IN_PLACE if keyword in schema]
    for keyword in _IN_PLACE_LISTS:
        inner = schema.get(keyword, [])
        applied += inner if isinstance(inner, list) else [inner]
    for keyword in _IN_PLACE_BY_NAME:
        applied += schema.get(keyword, {}).values()
    return applied


def _check_for_circles(in_place: Mapping[int, list[Any]]) -> None:
    done: set[int] = set()
    for start in in_place:
        path: dict[int, Iterator[int]] = {}
        following: int | None = start
        while following is not None or path:
            if following is not None and following not in done:
                if following in path:
                    raise UsageError("it refers to itself without end")
                path[following] = iter([id(each) for each in in_place.get(following, ())])
            following = next(path[last := next(reversed(path))], None) if path else None
            if path and following is None:
                done.add(last)
                del path[last]


class _Budget(threading.local):
    """How many keywords may still be applied to the arguments that are being checked."""

    left = 0


_budget = _Budget()


@functools.cache
def _bounded(kind: Any) -> Any:
    """Return the validator class of a draft with keywords of bounded work."""
    import jsonschema  # noqa: PLC0415 - heavy; a plain schema does without it

    own = {
        name: _nullable(keyword) if name in ("type", "enum") else keyword
        for name, keyword in kind.VALIDATORS.items()
    }
    own |= {"pattern": _pattern, "uniqueItems": _unique_items}
    counted = {name: _counted(keyword) for name, keyword in own.items() if name in kind.VALIDATORS}
    extend: Callable[..., Any] = jsonschema.validators.extend
    return extend(kind, counted)


def _counted(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def apply(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _budget.left -= 1
        if _budget.left < 0:
            raise TooMuchToCheck
        yield from keyword(validator, value, instance, schema) or ()

    return apply


def _nullable(keyword: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def apply(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if instance is not None or schema.get("nullable") is not True:
            yield from keyword(validator, value, instance, schema) or ()

    return apply


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    import jsonschema  # noqa: PLC0415 - loaded by now

    if not isinstance(instance, str):
        return
    if len(instance) > MOST_PATTERN_TEXT:
        limit = f"at most {MOST_PATTERN_TEXT} are held against a pattern"
        yield jsonschema.ValidationError(f"a text of {len(instance)} characters; {limit}")
    elif not re.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """Compare items by their texts: pair by pair would take quadratic time."""
    import jsonschema  # noqa: PLC0415 - loaded by now

    if wanted and isinstance(instance, list):
        texts = {json.dumps(_with_whole_numbers(item), sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield jsonschema.ValidationError(f"{instance!r:.120} has items that are equal")


def _with_whole_numbers(value: Any) -> Any:
    """Return JSON in which equal numbers are written alike: 1.0 is 1."""
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shorten(message: str, limit: int = 200) -> str:
    """Return the head and the tail of a long message, which may quote what it is about."""
    return (
        message
        if len(message) <= limit
        else f"{message[: limit // 2]} ... {message[-limit // 2 :]}"
    )
