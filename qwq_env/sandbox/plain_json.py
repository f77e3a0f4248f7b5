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
import binascii
import math
from collections.abc import Callable
from typing import Any, Final

from qwq_env.errors import UsageError

# Python refuses to write or read decimal integers of more than 4,300 digits.
_DECIMAL_BITS: Final = 1024
_COLLECTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
}


def to_plain_json(value: Any) -> Any:
    """Return `value` as something `json.dumps` writes; `UsageError` if it is not plain data."""
    try:
        return _encode(value)
    except RecursionError:
        raise UsageError("value: is nested too deeply") from None


def from_plain_json(data: Any) -> Any:
    """Return the plain data that `to_plain_json` wrote as `data`; `UsageError` if it did not."""
    try:
        return _decode(data)
    except RecursionError:
        raise UsageError("value: is nested too deeply") from None


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
        return [_encode(item) for item in value]
    if kind is dict:
        return _encode_dict(value)
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if kind in _COLLECTIONS.values():
        return {f"${kind.__name__}": [_encode(item) for item in value]}
    raise UsageError(f"value: {kind.__name__} is not plain data")


def _encode_dict(value: dict[Any, Any]) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item) for key, item in value.items()}
    return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}


def _decode(data: Any) -> Any:
    if isinstance(data, list):
        return [_decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1 or not next(iter(data)).startswith("$"):
        return {key: _decode(item) for key, item in data.items()}
    ((tag, content),) = data.items()
    try:
        return _decode_tagged(tag, content)
    except (TypeError, ValueError, binascii.Error) as error:
        raise UsageError(f"value: {tag} does not hold what it should: {error}") from None


def _decode_tagged(tag: str, content: Any) -> Any:
    if tag in _COLLECTIONS and isinstance(content, list):
        return _COLLECTIONS[tag](_decode(item) for item in content)
    if tag == "$dict":
        return {_decode(key): _decode(item) for key, item in content}
    if tag == "$bytes":
        return base64.b64decode(content, validate=True)
    if tag == "$float" and content in ("inf", "-inf", "nan"):
        return float(content)
    if tag == "$int":
        return int(content, 16)
    raise UsageError(f"value: {tag!r} is not a known kind of plain data")
