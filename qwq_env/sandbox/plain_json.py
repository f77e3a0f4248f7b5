"""Plain Python data as JSON and back, exactly: what a solution is called with and what it returns.

JSON alone turns a tuple into a list and an integer key into a string, which would make a right
answer wrong on a remote sandbox only. What JSON has stays as it is, so that a person can write a
request by hand (which is why this is not the terser tagging that `plain` uses across the wall of
the sandbox); the rest is an object with one key that begins with `$`:

| Python | JSON |
|---|---|
| None, bool, str, list, small int, finite float | itself |
| dict whose keys are strings without a leading `$` | object |
| any other dict | `{"$dict": [[key, value], …]}` |
| tuple, set, frozenset | `{"$tuple": […]}`, `{"$set": […]}`, `{"$frozenset": […]}` |
| bytes | `{"$bytes": "base64"}` |
| infinities, not-a-number | `{"$float": "inf"}` |
| int of more than 1,024 bits | `{"$int": "hexadecimal"}` |
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.sandbox import plain
from qwq_env.sandbox.collect import TooCostly, Work, at_once, collect, collect_pairs
from qwq_env.sandbox.writing import write_items, write_text

# Python refuses to write or read decimal integers of more than 4,300 digits.
_DECIMAL_BITS: Final = 1024
_COLLECTIONS: Final = (tuple, set, frozenset)


def to_plain_json(value: Any) -> Any:
    """Return `value` as something `json.dumps` writes; `UsageError` if it is not plain data."""
    try:
        return _encode(value)
    except RecursionError:
        raise UsageError("value: is nested too deeply") from None


def build(data: dict[str, Any]) -> Any:
    """Return the plain data of one JSON object whose content was built already: an `object_hook`.

    Raises `UsageError` for what `to_plain_json` never wrote, and `TooCostly` (see `collect`).
    """
    return at_once(building(data))


def building(data: dict[str, Any]) -> Work[Any]:
    """`build` in short steps."""
    if len(data) != 1 or not next(iter(data)).startswith("$"):
        return data
    ((tag, content),) = data.items()
    try:
        return (yield from _building(tag, content))
    except (TypeError, ValueError) as error:
        if isinstance(error, TooCostly):
            raise
        raise UsageError(f"value: {tag} does not hold what it should: {error}") from None


def _building(tag: str, content: Any) -> Work[Any]:
    if tag == "$bytes":
        return base64.b64decode(content, validate=True)
    if tag == "$float" and content in ("inf", "-inf", "nan"):
        return float(content)
    if tag == "$int":
        return plain.integer(content)
    if tag in ("$tuple", "$set", "$frozenset", "$dict") and type(content) is list:
        if tag == "$tuple":
            return tuple(content)
        if tag == "$dict":
            return (yield from collect_pairs(content))
        members = yield from collect(content)
        return members if tag == "$set" else frozenset(members)
    raise UsageError(f"value: {tag!r:.80} is not a known kind of plain data")


def writing(value: Any) -> Iterator[str]:
    """Yield the JSON of `to_plain_json(value)` piece by piece, none of which takes long to make."""
    kind = type(value)
    if kind is str:
        yield from write_text(value)
    elif kind is list:
        yield from write_items(("[", "]"), value, _encode_items, writing)
    elif kind in _COLLECTIONS:
        around = (f'{{"${kind.__name__}": [', "]}")
        yield from write_items(around, list(value), _encode_items, writing)
    elif kind is dict and _has_names(value):
        for number, (key, item) in enumerate(value.items()):
            yield f"{', ' if number else '{'}{json.dumps(key)}: "
            yield from writing(item)
        yield "}" if value else "{}"
    elif kind is dict:
        pairs = [list(pair) for pair in value.items()]
        yield from write_items(('{"$dict": [', "]}"), pairs, _encode_items, writing)
    else:
        yield json.dumps(to_plain_json(value))


def _encode_items(items: list[Any]) -> list[Any]:
    # Of floats some are written as no JSON number.
    if set(map(type, items)) == {int} and plain.is_json(items):
        return items
    return [_encode(item) for item in items]


def _has_names(value: dict[Any, Any]) -> bool:
    return all(type(key) is str and not key.startswith("$") for key in value)


def _encode(value: Any) -> Any:
    # Exact types: a subclass would come back as its base, and so as another value.
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if value.bit_length() <= _DECIMAL_BITS else {"$int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is list:
        return _encode_items(value)
    if kind is dict:
        return _encode_dict(value)
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if kind in _COLLECTIONS:
        return {f"${kind.__name__}": [_encode(item) for item in value]}
    raise UsageError(f"value: {kind.__name__} is not plain data")


def _encode_dict(value: dict[Any, Any]) -> dict[str, Any]:
    if _has_names(value):
        return {key: _encode(item) for key, item in value.items()}
    return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
