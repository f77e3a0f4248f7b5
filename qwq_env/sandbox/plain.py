"""Plain data across the wall: values of builtin types, written as JSON and built anew outside.

A solution may return an object that equals everything, or one that runs code when it is
unpickled. So nothing is pickled, and nothing of the returned object travels but its plain
content, read by exact type: what arrives outside is None, bool, int, float, str, bytes, list,
tuple, dict, set or frozenset, all the way down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

MAX_DEPTH: Final = 60
_MAX_DIGITS: Final = 4300


class NotPlain(TypeError):
    """The value holds something that is not plain data, or is nested too deeply."""


def encode(value: object) -> Any:
    """Return what `json.dumps` takes, tagged where JSON lacks the type; raises `NotPlain`."""
    return _encode(value, 0)


def _encode(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        if value.bit_length() > _MAX_DIGITS * 10 // 3:
            return {"i": hex(value)}
        return value
    if depth > MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return [_encode(item, depth + 1) for item in value]
    if kind is dict:
        pairs = [[_encode(key, depth + 1), _encode(item, depth + 1)] for key, item in value.items()]
        return {"d": pairs}
    if kind is tuple or kind is set or kind is frozenset:
        return {kind.__name__[0]: [_encode(item, depth + 1) for item in value]}
    if kind is bytes:
        return {"b": value.hex()}
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return _encode(value.tolist(), depth + 1)
    raise NotPlain(f"{kind.__name__} is not plain data")


def _integer(text: Any) -> int:
    if type(text) is not str:
        raise NotPlain("malformed")
    return int(text, 16)


def _pairs(content: Any, depth: int) -> dict[Any, Any]:
    result = {}
    for pair in _items(content):
        if type(pair) is not list or len(pair) != 2:
            raise NotPlain("malformed")
        result[_hashable(_decode(pair[0], depth + 1))] = _decode(pair[1], depth + 1)
    return result


def _items(content: Any) -> list[Any]:
    if type(content) is not list:
        raise NotPlain("malformed")
    return content


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        raise NotPlain("malformed") from None
    return value


def _each(content: Any, depth: int) -> list[Any]:
    return [_decode(item, depth + 1) for item in _items(content)]


_TAGS: Final[dict[str, Callable[[Any, int], Any]]] = {
    "t": lambda content, depth: tuple(_each(content, depth)),
    "s": lambda content, depth: {_hashable(item) for item in _each(content, depth)},
    "f": lambda content, depth: frozenset(_hashable(item) for item in _each(content, depth)),
    "d": _pairs,
    "b": lambda content, depth: bytes.fromhex(content),
    "i": lambda content, depth: _integer(content),
}


def decode(data: Any) -> Any:
    """Build the value of tagged JSON that was parsed already; raises `NotPlain`."""
    try:
        return _decode(data, 0)
    except (TypeError, ValueError) as error:
        raise NotPlain(f"malformed: {error}") from None


def _decode(data: Any, depth: int) -> Any:
    if depth > MAX_DEPTH + 1:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}")
    kind = type(data)
    if kind is list:
        return [_decode(item, depth + 1) for item in data]
    if kind is dict:
        if len(data) != 1:
            raise NotPlain("malformed")
        ((tag, content),) = data.items()
        builder = _TAGS.get(tag)
        if builder is None:
            raise NotPlain("malformed")
        return builder(content, depth)
    return data
