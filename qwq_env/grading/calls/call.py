"""A function call as a value, and the forms in which a model's output states calls.

Nothing is ever evaluated: text is parsed to a syntax tree of which only calls with literal
arguments are accepted.
"""

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwq_env.errors import QwqError

__all__ = ["Call", "NoCalls", "UnreadableCall", "parse_python_calls", "read_calls", "show"]

MAX_TEXT = 200_000
"""Characters of text that are parsed; more is malformed."""


class NoCalls(QwqError):
    """The text holds no calls at all: it is prose."""


class UnreadableCall(QwqError):
    """There is a call, but not one that can be taken at its word; the message says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the function's name, its arguments by name, and those given by place."""

    name: str
    arguments: Mapping[str, Any]
    positional: Sequence[Any] = field(default=())


def show(value: object) -> str:
    """`value` for a message, cut short; whatever it is, printing it does not fail."""
    try:
        return f"{value!r:.120}"
    except (RecursionError, ValueError):  # nested deeper or longer than Python prints
        return f"a {type(value).__name__}"


def read_calls(output: object) -> list[Call]:
    """The calls that `output` states, in order.

    A list of `{"name": ..., "arguments": ...}` or of `{name: {argument: value}}`; arguments may be
    JSON text, and OpenAI's `{"type": "function", "function": ...}` is unwrapped. A string is the
    same list as JSON, or Python's `[f(a=1), g(b='x')]`.

    Raises NoCalls for a text that is neither, UnreadableCall for calls that cannot be read.
    """
    if isinstance(output, str):
        return _read_text(output)
    if isinstance(output, (dict, Call)):
        output = [output]
    if not isinstance(output, list):
        raise UnreadableCall(f"calls: {type(output).__name__}; expected a list or a text")
    return [_read_object(item) for item in output]


def _read_text(text: str) -> list[Call]:
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            parsed = json.loads(stripped)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, (list, dict)):
            items = parsed if isinstance(parsed, list) else [parsed]
            if items and not any(map(_looks_like_call, items)):
                raise NoCalls("the text is JSON without calls")
            return read_calls(items)
    return parse_python_calls(stripped)


def _looks_like_call(item: object) -> bool:
    if not isinstance(item, dict):
        return False
    alone = len(item) == 1 and isinstance(next(iter(item.values())), dict)
    return alone or {"name", "arguments"} <= set(item) or "function" in item


def _read_object(item: object) -> Call:
    if isinstance(item, Call):
        return item
    if not isinstance(item, dict):
        raise UnreadableCall(f"call: {show(item)}; expected an object")
    inner = item.get("function")
    fields: dict[Any, Any] = item
    if isinstance(inner, dict) and item.get("type", "function") == "function":
        fields = inner
    if set(fields) == {"name", "arguments"} and isinstance(fields["name"], str):
        name, arguments = fields["name"], fields["arguments"]
    elif len(fields) == 1:
        name, arguments = next(iter(fields.items()))
    else:
        raise UnreadableCall(f"call: {show(item)}; expected one function and its arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise UnreadableCall(f"{name}: arguments are not JSON: {show(arguments)}") from None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UnreadableCall(f"call: {show(item)}; expected arguments by name")
    return Call(name, arguments)


def parse_python_calls(text: str) -> list[Call]:
    """The calls of `[f(a=1), g(b='x')]` or `f(a=1)`, literal arguments only.

    Raises NoCalls if the text is no such expression, UnreadableCall if an argument is no literal,
    is given twice, or comes from `**`.
    """
    if len(text) > MAX_TEXT:
        raise UnreadableCall(f"calls: {len(text)} characters; expected at most {MAX_TEXT}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a model's string is not ours to mend
            body = ast.parse(text.strip().strip("'"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NoCalls("the text is not a list of calls") from None
    nodes = body.elts if isinstance(body, (ast.List, ast.Tuple)) else [body]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls and nodes:
        raise NoCalls("the text is an expression without calls")
    if len(calls) < len(nodes):
        raise UnreadableCall("the list holds something that is not a call")
    try:
        return [_from_node(node) for node in calls]
    except RecursionError:
        raise UnreadableCall("an argument is nested too deeply") from None


def _from_node(node: ast.Call) -> Call:
    name = _dotted_name(node.func)
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise UnreadableCall(f"{name}: arguments are unpacked with **")
        if keyword.arg in arguments:
            raise UnreadableCall(f"{name}: {keyword.arg} is given twice")
        arguments[keyword.arg] = _literal(name, keyword.value)
    return Call(name, arguments, tuple(_literal(name, value) for value in node.args))


def _dotted_name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise UnreadableCall("a call's function is not a name")
    return ".".join([node.id, *reversed(parts)])


def _literal(name: str, node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        raise UnreadableCall(f"{name}: {ast.unparse(node):.80} is not a literal") from None
    if not _is_plain(value):
        raise UnreadableCall(f"{name}: {ast.unparse(node):.80} is not a JSON-like value")
    return value


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (str, bool, int, float))
