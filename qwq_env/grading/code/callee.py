"""The solution's side of a test script: plain values as JSON text, and calls that are asked so.

The source of this module is sent into both processes, of the solution and of the tests (`caller`),
so it needs nothing but the standard library. What goes over is text: a value is rebuilt by whoever
needs it, in a process of its own, and the host that carries it never builds it. A subclass of a
builtin type travels as the builtin value that it holds (a `Counter` is a dict), as `==` sees it.
An iterator travels as the items that it gives, and is an iterator over them where it arrives.

A question is `{"call": [path, arguments, arguments by name]}`. An argument may be a question
itself, or `{"name": path}`: what a test makes of the solution's own classes stays in its process.
An answer is `{"value": ...}`, or `{"object": truth}` for what is no plain value (a match, say, of
which a test wants to know no more), and has `"after"` where the call changed its arguments.
"""

from __future__ import annotations

import builtins
import json
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from types import GeneratorType
from typing import Any

MOST_DEPTH = 200
MOST_ITEMS = 100_000
"""Of an iterator: one that goes on beyond is taken for endless, and stays where it is."""
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
_ITERATORS = (
    GeneratorType, map, filter, zip, enumerate, reversed,
    *(type(iter(kind())) for kind in (list, tuple, str, set, dict, bytes)),
)  # fmt: skip
_MADE: dict[str, Any] = {
    **_KINDS,
    "deque": deque,
    "iterator": iter,
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "items": lambda items: dict(items).items(),
}
"""What is made of a list of items, by tag."""
_ITEMIZED = {
    deque: "deque", type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items",
    **dict.fromkeys(_ITERATORS, "iterator"),
}  # fmt: skip
_WRITTEN = {Fraction: "Fraction", Decimal: "Decimal"}


class NotPlain(TypeError):
    """The value is of no builtin type that can travel, or is nested too deeply."""


def encode(value: Any, depth: int = 0) -> Any:
    """Return what `json.dumps` takes, with an object of one key where JSON lacks the type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if number.bit_length() < 1024 else {"int": hex(number)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if depth > MOST_DEPTH:
        raise NotPlain(f"nested deeper than {MOST_DEPTH}")
    return _encode_inner(value, depth + 1)


def _encode_inner(value: Any, depth: int) -> Any:
    if hasattr(type(value), "recipe"):
        return value.recipe
    for kind in _KINDS.values():
        if isinstance(value, kind):
            items = [encode(item, depth) for item in kind.__iter__(value)]
            return items if kind is list else {kind.__name__: items}
    if isinstance(value, dict):
        pairs = dict.items(value)
        return {"dict": [[encode(key, depth), encode(item, depth)] for key, item in pairs]}
    if isinstance(value, range):
        return {"range": [encode(each) for each in (value.start, value.stop, value.step)]}
    kind = type(value)
    if tag := _ITEMIZED.get(kind):
        items = list(islice(value, MOST_ITEMS + 1))
        if len(items) > MOST_ITEMS:
            raise NotPlain(f"more than {MOST_ITEMS} items")
        return {tag: [encode(item, depth) for item in items]}
    if kind in _WRITTEN:
        return {_WRITTEN[kind]: str(value)}
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), depth)
    raise NotPlain(f"{type(value).__name__} is no plain value")


def decode(data: Any, solve: Callable[[str, Any], Any] | None = None) -> Any:
    """Return the value that `encode` wrote; raises what a wrong shape raises.

    `solve(tag, content)` gives the value of what is no plain value: a name or a call.
    """
    if isinstance(data, list):
        return [decode(item, solve) for item in data]
    if not isinstance(data, dict):
        return data
    ((tag, content),) = data.items()
    if tag == "dict":
        return {decode(key, solve): decode(item, solve) for key, item in content}
    if tag in _MADE:
        return _MADE[tag]([decode(item, solve) for item in content])
    if tag in _WRITTEN.values():
        return {"Fraction": Fraction, "Decimal": Decimal}[tag](content)
    if tag in ("complex", "range"):
        return {"complex": complex, "range": range}[tag](*map(decode, content))
    if tag == "int":
        return int(content, 16)
    if tag == "bytes":
        return bytes.fromhex(content)
    if solve is None:
        raise NotPlain(f"{tag!r} is no plain value")
    return solve(tag, content)


def find(names: dict[str, Any], path: str) -> Any:
    """Return what a solution means by a name: a method of its class `Solution` comes first.

    Contest programs often have a function of the method's name beside the class; the judges of
    the sites look into the class. Classes on a dotted path are instantiated anew.
    """
    head, *rest = path.split(".")
    owner = names.get("Solution")
    if not rest and isinstance(owner, type) and hasattr(owner, head):
        head, rest = "Solution", [head]
    found = names[head] if head in names else getattr(builtins, head)
    for name in rest:
        found = getattr(found() if isinstance(found, type) else found, name)
    return found


def call(names: dict[str, Any], path: str, *arguments: Any) -> Any:
    """Call a function and return its value as exact builtin types where it is plain at all."""
    value = find(names, path)(*arguments)
    try:
        return decode(_with_floats(encode(value)))
    except (NotPlain, TypeError, ValueError, OverflowError, RecursionError):
        return value


def _with_floats(data: Any) -> Any:
    """Return an encoded value with a float, or an integer, for each fraction and decimal that is
    equal to one: published values know no others."""
    if isinstance(data, list):
        return [_with_floats(each) for each in data]
    if not isinstance(data, dict):
        return data
    ((tag, content),) = data.items()
    if tag not in _WRITTEN.values():
        return {tag: _with_floats(content)}
    number = decode(data)
    if number == number.__trunc__():
        return encode(number.__trunc__())
    return float(number) if float(number) == number else data


def answer(names: dict[str, Any], question: str) -> str:
    """Answer a question in the solution's process; what the solution raises is raised."""

    def solve(tag: str, content: Any) -> Any:
        if tag == "name":
            return find(names, content)
        path, given, named = content
        return find(names, path)(*decode(given, solve), **dict(decode(named, solve)))

    path, given, named = json.loads(question)["call"]
    arguments = decode(given, solve)
    before = _mutable(arguments)
    value = find(names, path)(*arguments, **dict(decode(named, solve)))
    said: dict[str, Any] = {}
    try:
        said["value"] = encode(value)
    except NotPlain:
        said["object"] = bool(value)
    after = _mutable(arguments)
    if after != before:
        said["after"] = after
    return json.dumps(said)


def _mutable(arguments: list[Any]) -> list[Any]:
    """Return the arguments that a call may change, encoded; None in the place of all others."""
    found = []
    for argument in arguments:
        try:
            found.append(encode(argument) if isinstance(argument, list | dict | set) else None)
        except NotPlain:
            found.append(None)
    return found
