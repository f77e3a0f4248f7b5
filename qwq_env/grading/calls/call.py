"""A function call as a value, and the forms in which a model's output states calls.

Nothing is ever run: text is parsed to a syntax tree of which only calls with literal arguments are
accepted. As BFCL's reader does, sums of numbers are worked out (up to a size), and a bare name or
an entry of one (`data['x']`) stands for its text.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwq_env.errors import QwqError
from qwq_env.text.python import parse_python

__all__ = ["Call", "NoCalls", "UnreadableCall", "parse_python_calls", "read_calls", "show"]

MAX_TEXT = 200_000
"""Characters of text that are parsed; more is malformed."""

_NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "tool_input", "input", "params", "kwargs")
_BESIDE_A_CALL = frozenset(["id", "index", "tool_call_id", "call_id"])
_TYPES_OF_A_CALL = frozenset(["function", "function_call", "tool_call", "tool_use"])
_MOST_BITS = 4096
_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


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


def read_calls(output: object, *, words: bool = True) -> list[Call]:
    """The calls that `output` states, in order.

    A list of `{"name": ..., "arguments": ...}` or of `{name: {argument: value}}`; arguments may be
    JSON text, and OpenAI's `{"type": "function", "function": ...}` is unwrapped. A string is the
    same list as JSON, or Python's `[f(a=1), g(b='x')]`.

    Without `words` a bare name is no argument, as where calls are run and not compared.

    Raises NoCalls for a text that is neither, UnreadableCall for calls that cannot be read.
    """
    if isinstance(output, str):
        return _read_text(output, words)
    if isinstance(output, (dict, Call)):
        output = [output]
    if not isinstance(output, list):
        raise UnreadableCall(f"calls: {type(output).__name__}; expected a list or a text")
    return [_read_object(item) for item in output]


def _read_text(text: str, words: bool) -> list[Call]:
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            parsed = load_json(stripped)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, (list, dict)):
            items = parsed if isinstance(parsed, list) else [parsed]
            if items and not any(map(_looks_like_call, items)):
                raise NoCalls("the text is JSON without calls")
            return read_calls(items)
    return parse_python_calls(stripped, words=words)


def load_json(text: str) -> Any:
    """Return the JSON value of a text.

    Raises ValueError for what is none, and UnreadableCall for an object with a key twice.
    """
    return DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise UnreadableCall("an object has a key twice")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_object)
"""Refuses an object with a key twice, which would be matched by its last alone."""


def _looks_like_call(item: object) -> bool:
    if not isinstance(item, dict):
        return False
    alone = len(item) == 1 and isinstance(next(iter(item.values())), dict)
    return alone or is_named_call(item) or "function" in item


def is_named_call(item: Mapping[str, Any]) -> bool:
    """Say whether an object names a function and gives it arguments; a function's document, whose
    `parameters` are a schema, does not."""
    name, given = _keys_of_call(item)
    arguments = item.get(given)
    schema = given == "parameters" and isinstance(arguments, dict) and "properties" in arguments
    named = name == "name" or isinstance(item.get(name), str)
    return named and given in item and not schema


def _keys_of_call(item: Mapping[Any, Any]) -> tuple[str, str]:
    """The keys under which an object has a function's name and its arguments, `""` for none."""
    name = next((key for key in _NAME_KEYS if key in item), "")
    # Under other names than the usual ones, arguments are known by being an object.
    given = next(
        (
            key
            for key in _ARGUMENT_KEYS
            if key in item and (key in _ARGUMENT_KEYS[:2] or isinstance(item[key], dict))
        ),
        "",
    )
    return name, given


def _read_object(item: object) -> Call:
    if isinstance(item, Call):
        return item
    if not isinstance(item, dict):
        raise UnreadableCall(f"call: {show(item)}; expected an object")
    inner = item.get("function")
    fields: dict[Any, Any] = item
    if isinstance(inner, dict) and item.get("type", "function") == "function":
        fields = inner
    named, given = _keys_of_call(fields)
    if fields.get("type") in _TYPES_OF_A_CALL and "type" not in (named, given):
        fields = {key: value for key, value in fields.items() if key != "type"}
    if set(fields) - _BESIDE_A_CALL == {named, given} and isinstance(fields[named], str):
        name, arguments = fields[named], fields[given]
    elif len(fields) == 1:
        name, arguments = next(iter(fields.items()))
    else:
        raise UnreadableCall(f"call: {show(item)}; expected one function and its arguments")
    if isinstance(arguments, str):
        try:
            arguments = load_json(arguments)
        except (ValueError, RecursionError):
            raise UnreadableCall(f"{name}: arguments are not JSON: {show(arguments)}") from None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UnreadableCall(f"call: {show(item)}; expected arguments by name")
    return Call(name, arguments)


def parse_python_calls(text: str, *, words: bool = True) -> list[Call]:
    """The calls of `[f(a=1), g(b='x')]` or `f(a=1)`, literal arguments only.

    Raises NoCalls if the text is no such expression, UnreadableCall if an argument is no literal,
    is given twice, or comes from `**`.
    """
    if len(text) > MAX_TEXT:
        raise UnreadableCall(f"calls: {len(text)} characters; expected at most {MAX_TEXT}")
    try:
        body = parse_python(text.strip().strip("'"), "eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NoCalls("the text is not a list of calls") from None
    nodes = body.elts if isinstance(body, (ast.List, ast.Tuple)) else [body]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls and nodes:
        raise NoCalls("the text is an expression without calls")
    if len(calls) < len(nodes):
        raise UnreadableCall("the list holds something that is not a call")
    try:
        return [_from_node(node, words) for node in calls]
    except RecursionError:
        raise UnreadableCall("an argument is nested too deeply") from None


def _from_node(node: ast.Call, words: bool) -> Call:
    name = _dotted_name(node.func)
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise UnreadableCall(f"{name}: arguments are unpacked with **")
        if keyword.arg in arguments:
            raise UnreadableCall(f"{name}: {keyword.arg} is given twice")
        arguments[keyword.arg] = _literal(name, keyword.value, words)
    return Call(name, arguments, tuple(_literal(name, value, words) for value in node.args))


def _dotted_name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise UnreadableCall("a call's function is not a name")
    return ".".join([node.id, *reversed(parts)])


def _literal(name: str, node: ast.expr, words: bool) -> Any:
    try:
        if not words and any(isinstance(part, ast.Name) for part in ast.walk(node)):
            raise ValueError("a bare name")
        return _value(node)
    except (ValueError, ArithmeticError):
        raise UnreadableCall(f"{name}: {ast.unparse(node):.80} is not a literal") from None


def _value(node: ast.expr) -> Any:
    """Return what a literal stands for. Raises ValueError or ArithmeticError for what is none."""
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Dict(keys=keys, values=values):
            return _object_of([key and _value(key) for key in keys], list(map(_value, values)))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(operand)
            return -number if isinstance(sign, ast.USub) else number
        case ast.BinOp(left=left, op=operation, right=right):
            return _worked_out(_number(left), operation, _number(right))
        case ast.Name(id=word):
            return word
        case ast.Subscript():
            return ast.unparse(node)
    raise ValueError("not a literal")


def _object_of(keys: list[Any], values: list[Any]) -> dict[str, Any]:
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise ValueError("keys are texts, each once")
    return dict(zip(keys, values, strict=True))


def _number(node: ast.expr) -> int | float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    return value


def _worked_out(left: int | float, operation: ast.operator, right: int | float) -> int | float:
    if isinstance(operation, ast.Pow):
        size = left.bit_length() if isinstance(left, int) else 1
        if not abs(right) * size <= _MOST_BITS:
            raise ValueError("a power is too large")
    elif type(operation) not in _OPERATIONS:
        raise ValueError("not arithmetic")
    result = (
        left**right if isinstance(operation, ast.Pow) else _OPERATIONS[type(operation)](left, right)
    )
    if not isinstance(result, int | float) or (
        isinstance(result, int) and result.bit_length() > _MOST_BITS
    ):
        raise ValueError("no number, or too large a one")
    return result
