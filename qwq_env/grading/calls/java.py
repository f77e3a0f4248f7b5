"""What a piece of Java source stands for, given the type that the function's document names.

A piece that does not have the form of its type stays text, and so is of the wrong type to the
matcher (or is the variable that a possible answer names).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from qwq_env.grading.calls.source import split_top_level, unquote

__all__ = ["TYPES", "UNSUPPORTED", "convert"]

TYPES: Mapping[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "char": str,
    "String": str,
    "any": str,
    "Array": list,
    "ArrayList": list,
    "HashMap": dict,
}

UNSUPPORTED = frozenset({"Set", "Hashtable", "Queue", "Stack"})
"""Types that BFCL names but converts nowhere: no verdict is possible."""

_INTEGER = re.compile(r"-?\d+", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_ARRAY = re.compile(r"new\s+[\w.<>]+\s*\[\s*\]\s*\{(?P<inside>.*)\}", re.DOTALL)
_NEW_LIST = re.compile(r"new\s+ArrayList\s*<[\w.<>, ]*>\s*\(", re.DOTALL)
_NEW_MAP = re.compile(r"new\s+HashMap\s*<[\w.<>, ]*>\s*\(\s*\)(?P<body>.*)", re.DOTALL)
_AS_LIST = re.compile(r"(?:Arrays\.asList|List\.of)\s*\((?P<inside>.*)\)\s*\)", re.DOTALL)


def convert(source: str, kind: str, nested: str | None = None) -> Any:
    """The value of `source` as `kind`, elements as `nested` if that is given.

    Integers and decimals, `3f`, `3L`, `true`, `new int[]{1, 2}`,
    `new ArrayList<>(Arrays.asList(1, 2))`, `new ArrayList<>() {{ add(1); }}` and
    `new HashMap<>() {{ put("a", 1); }}`. Raises KeyError for a type that is not in `TYPES`.
    """
    if TYPES[kind] is str:
        return source
    try:
        return _CONVERTERS[kind](source, nested)
    except ValueError:
        return source


def _integer(source: str, nested: str | None) -> Any:
    return int(source) if _INTEGER.fullmatch(source) else source


def _long(source: str, nested: str | None) -> Any:
    return int(source[:-1]) if source[-1:] in "lL" and _INTEGER.fullmatch(source[:-1]) else source


def _float(source: str, nested: str | None) -> Any:
    return float(source[:-1]) if source[-1:] in "fF" and _DECIMAL.fullmatch(source[:-1]) else source


def _double(source: str, nested: str | None) -> Any:
    return float(source) if _DECIMAL.fullmatch(source) else source


def _boolean(source: str, nested: str | None) -> Any:
    return {"true": True, "false": False}.get(source, source)


def _array(source: str, nested: str | None) -> Any:
    match = _ARRAY.fullmatch(source.strip())
    if not match:
        return source
    return [_element(piece, nested) for piece in split_top_level(match["inside"], ",")]


def _array_list(source: str, nested: str | None) -> Any:
    head = _NEW_LIST.match(source.strip())
    if not head:
        return source
    rest = source.strip()[head.end() :].strip()
    if rest == ")":
        return []
    as_list = _AS_LIST.fullmatch(rest)
    if as_list:
        return [_element(piece, nested) for piece in split_top_level(as_list["inside"], ",")]
    if rest.startswith(")"):
        return [_element(piece, nested) for piece in _statements(rest[1:], "add")]
    return source


def _hash_map(source: str, nested: str | None) -> Any:
    match = _NEW_MAP.fullmatch(source.strip())
    if not match:
        return source
    entries: dict[str, Any] = {}
    for statement in _statements(match["body"], "put"):
        key, value = split_top_level(statement, ",")
        entries[unquote(key)] = _generic(value)
    return entries


def _statements(block: str, method: str) -> list[str]:
    """The arguments of every `method(...);` in `{{ ... }}`, or in `{ ... }`, or in nothing."""
    block = block.strip()
    for _ in range(2):
        if block.startswith("{") and block.endswith("}"):
            block = block[1:-1].strip()
    arguments: list[str] = []
    for statement in filter(None, split_top_level(block, ";")):
        name, parenthesis, rest = statement.partition("(")
        if name.strip() != method or not parenthesis or not rest.endswith(")"):
            raise ValueError(f"not a call of {method}: {statement}")
        arguments.append(rest[:-1].strip())
    return arguments


def _element(source: str, nested: str | None) -> Any:
    if nested is None or nested == "any" or nested not in TYPES:
        return _generic(source)
    return unquote(source) if TYPES[nested] is str else convert(source, nested)


def _generic(source: str) -> Any:
    """The value of a literal whose type nobody names; any other text as it is."""
    if unquote(source, '"') != source:
        return unquote(source, '"')
    for converter in (_boolean, _integer, _long, _float, _double):
        value = converter(source, None)
        if value is not source:
            return value
    return source


_CONVERTERS: Mapping[str, Callable[[str, str | None], Any]] = {
    "byte": _integer,
    "short": _integer,
    "integer": _integer,
    "long": _long,
    "float": _float,
    "double": _double,
    "boolean": _boolean,
    "Array": _array,
    "ArrayList": _array_list,
    "HashMap": _hash_map,
}
