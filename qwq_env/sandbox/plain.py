"""Plain data across the wall: values of builtin types, written as JSON and built anew outside.

A solution may return an object that equals everything, or one that runs code when it is
unpickled. So nothing is pickled, and nothing of the returned object travels but its plain
content, read by exact type: what arrives outside is None, bool, int, float, str, bytes, list,
tuple, dict, set or frozenset, all the way down. What arrives may be forged: see `collect` for sets
and dictionaries, and `foreign` for the rest of what it may cost to read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from qwq_env.sandbox.collect import TooCostly, Work, at_once, collect, collect_pairs
from qwq_env.sandbox.writing import CONTAINERS, write_items, write_text

MAX_DEPTH: Final = 60
_DECIMAL_BITS: Final = 1024
"""Longer integers travel as hexadecimal: reading decimal takes time in the square of the digits,
and Python refuses more than 4,300 of them."""
_MOST_BITS: Final = 1 << 22
_AS_THEY_ARE: Final = frozenset((type(None), bool, str, float))


class NotPlain(TypeError):
    """The value holds something that is not plain data, or is nested too deeply."""


def encode(value: object) -> Any:
    """Return what `json.dumps` takes, tagged where JSON lacks the type; raises `NotPlain`."""
    return _encode(value, 0)


def _encode(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is int:
        return value if value.bit_length() <= _DECIMAL_BITS else {"i": _hexadecimal(value)}
    if depth > MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}")
    if kind is list:
        return _encode_items(value, depth)
    if kind is dict:
        pairs = [[_encode(key, depth + 1), _encode(item, depth + 1)] for key, item in value.items()]
        return {"d": pairs}
    if kind is tuple or kind is set or kind is frozenset:
        return {kind.__name__[0]: _encode_items(value, depth)}
    if kind is bytes:
        return {"b": value.hex()}
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return _encode(value.tolist(), depth + 1)
    raise NotPlain(f"{kind.__name__} is not plain data")


def _hexadecimal(value: int) -> str:
    if value.bit_length() > _MOST_BITS:
        raise NotPlain(f"an integer of more than {_MOST_BITS} bits")
    return hex(value)


def _encode_items(items: Iterable[Any], depth: int) -> list[Any]:
    items = list(items)
    return items if is_json(items) else [_encode(item, depth + 1) for item in items]


def is_json(items: list[Any]) -> bool:
    """Say whether every item is one that stands for itself, fast for long lists of numbers."""
    kinds = set(map(type, items))
    if kinds == {int}:
        longest: int = max(max(items).bit_length(), min(items).bit_length())
        return longest <= _DECIMAL_BITS
    return kinds <= _AS_THEY_ARE


def writing(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the JSON of `encode(value)` piece by piece, none of which takes long to make."""
    kind = type(value)
    if depth > MAX_DEPTH or kind not in CONTAINERS:
        yield from write_text(value) if kind is str else (json.dumps(_encode(value, depth)),)
        return
    items = [list(pair) for pair in value.items()] if kind is dict else list(value)
    around = ("[", "]") if kind is list else (f'{{"{kind.__name__[0]}":[', "]}")
    yield from write_items(
        around,
        items,
        lambda few: _encode_items(few, depth),
        lambda item: writing(item, depth + 1),
    )


def build(data: dict[str, Any]) -> Any:
    """Return the value of one tagged object whose content was built already: an `object_hook`."""
    return at_once(building(data))


def building(data: dict[str, Any]) -> Work[Any]:
    """`build` in short steps; raises `NotPlain` or `TooCostly`."""
    if len(data) != 1:
        raise NotPlain("malformed")
    ((tag, content),) = data.items()
    if tag in ("b", "i") and type(content) is str:
        try:
            return bytes.fromhex(content) if tag == "b" else integer(content)
        except ValueError:
            raise NotPlain("malformed") from None
    if tag not in ("t", "s", "f", "d") or type(content) is not list:
        raise NotPlain("malformed")
    if tag == "t":
        return tuple(content)
    try:
        if tag == "d":
            return (yield from collect_pairs(content))
        members = yield from collect(content)
    except TypeError:
        raise NotPlain("malformed") from None
    return members if tag == "s" else frozenset(members)


def integer(text: str) -> int:
    """Return an integer written as hexadecimal, in time in proportion to its digits."""
    if 4 * (len(text) - len("-0x")) > _MOST_BITS:
        raise TooCostly(f"an integer of more than {_MOST_BITS} bits")
    return int(text, 16)
