"""What a piece of JavaScript source stands for, given the type that the function's document names.

A piece that does not have the form of its type stays text, and so is of the wrong type to the
matcher (or is the variable that a possible answer names).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from qwq_env.grading.calls.source import split_top_level, unquote

__all__ = ["TYPES", "convert"]

TYPES: Mapping[str, type] = {
    "String": str,
    "any": str,
    "integer": int,
    "Bigint": int,
    "float": float,
    "Boolean": bool,
    "array": list,
    "dict": dict,
}

_NUMBERS: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "integer": (re.compile(r"-?\d+", re.ASCII), int),
    "float": (re.compile(r"-?\d+(\.\d+)?", re.ASCII), float),
    "Bigint": (re.compile(r"-?\d+n", re.ASCII), lambda source: int(source[:-1])),
}
_EXPONENT = re.compile(r"-?\d+(\.\d+)?[eE][+-]?\d+", re.ASCII)
_NEW_ARRAY = re.compile(r"new\s+Array\s*\((?P<inside>.*)\)", re.DOTALL)
_BOOLEANS = {"true": True, "false": False}


def convert(source: str, kind: str, nested: str | None = None) -> Any:
    """The value of `source` as `kind`, elements as `nested` if that is given.

    Strings in either quotes, `3`, `3.5`, `3n`, `true`, `[1, [2]]`, `new Array(1, 2)` and
    `{a: 1, "b": [2]}`. Raises KeyError for a type that is not in `TYPES`.
    """
    source = source.strip() if TYPES[kind] in (list, dict) else source
    if kind == "String":
        return unquote(source)
    if kind == "any":
        return source
    if kind == "Boolean":
        return _BOOLEANS.get(source, source)
    if kind in _NUMBERS:
        form, make = _NUMBERS[kind]
        return make(source) if form.fullmatch(source) else source
    try:
        return _array(source, nested) if kind == "array" else _object(source)
    except (ValueError, RecursionError):
        return source


def _array(source: str, nested: str | None) -> Any:
    match = _NEW_ARRAY.fullmatch(source)
    if match:
        inside = match["inside"]
    elif source.startswith("[") and source.endswith("]"):
        inside = source[1:-1]
    else:
        return source
    pieces = split_top_level(inside, ",")
    if nested is not None and nested in TYPES:
        return [convert(piece, nested) for piece in pieces]
    return [_generic(piece) for piece in pieces]


def _object(source: str) -> Any:
    if not (source.startswith("{") and source.endswith("}")):
        return source
    entries: dict[str, Any] = {}
    for piece in split_top_level(source[1:-1], ","):
        key, colon, *rest = piece.partition(":")
        if not colon:
            raise ValueError(f"not an entry: {piece}")
        entries[unquote(key.strip())] = _generic(rest[0].strip())
    return entries


def _generic(source: str) -> Any:
    """The value of a literal whose type nobody names; any other text as it is."""
    if unquote(source) != source:
        return unquote(source)
    if source in _BOOLEANS:
        return _BOOLEANS[source]
    if source.startswith("[") or _NEW_ARRAY.fullmatch(source):
        return _array(source, None)
    if source.startswith("{"):
        return _object(source)
    for form, make in _NUMBERS.values():
        if form.fullmatch(source):
            return make(source)
    return float(source) if _EXPONENT.fullmatch(source) else source
