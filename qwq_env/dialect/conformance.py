"""Hold a dialect against recorded renderings: a JSONL file of conversations and their text.

Each row is `{"name", "messages", "tools", "add_generation_prompt", "rendered"}`; `tools` may be
null. Such files are made with a tokenizer's own `apply_chat_template`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qwq_env.dialect.base import Dialect, text_of
from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_objects

_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "messages": (list,),
    "tools": (list, type(None)),
    "add_generation_prompt": (bool,),
    "rendered": (str,),
}
_NAMES = {str: "text", list: "a list", bool: "true or false", type(None): "null", dict: "an object"}


class Row(NamedTuple):
    """A recorded rendering; `where` is its file and line."""

    where: str
    name: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    add_generation_prompt: bool
    rendered: str


class Difference(NamedTuple):
    """Where two texts part: the position in characters, and what each holds around it."""

    position: int
    expected: str
    found: str


def read_rows(path: Path) -> list[Row]:
    """Read a whole file. Raises `UsageError`, naming file and line, for what is no such row."""
    rows = [_row(f"{path}:{number}", value) for number, value in read_objects(path, constants=True)]
    if not rows:
        raise UsageError(f"file: {path} holds no rows; expected one JSON object a line")
    return rows


def difference_of(dialect: Dialect, row: Row) -> Difference | None:
    """Render a row and return where it first differs; None if it does not.

    Raises `UsageError`, naming file and line, for messages that the dialect cannot render.
    """
    try:
        pieces = dialect.render(
            row.messages, row.tools, add_generation_prompt=row.add_generation_prompt
        )
    except UsageError as error:
        raise UsageError(f"{row.where}: {error}") from None
    return first_difference(row.rendered, text_of(pieces))


def first_difference(expected: str, found: str, context: int = 30) -> Difference | None:
    """Return where two texts part, with `context` characters on either side; None if equal."""
    if expected == found:
        return None
    position = common_prefix(expected, found)
    around = slice(max(0, position - context), position + context)
    return Difference(position, expected[around], found[around])


def common_prefix(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return how many items two sequences share at their beginning."""
    pairs = enumerate(zip(left, right, strict=False))
    shorter = min(len(left), len(right))
    return next((index for index, (a, b) in pairs if a != b), shorter)


def _row(where: str, value: dict[str, Any]) -> Row:
    for field, kinds in _FIELDS.items():
        if field not in value:
            raise UsageError(f"{where}: {field}: missing; expected {_kinds(kinds)}")
        _expect(where, field, value[field], kinds)
    for index, message in enumerate(value["messages"]):
        _check_message(f"{where}: messages[{index}]", message)
    for index, tool in enumerate(value["tools"] or ()):
        _expect(where, f"tools[{index}]", tool, (dict,))
    return Row(
        where=where,
        name=value["name"],
        messages=value["messages"],
        tools=value["tools"] or [],
        add_generation_prompt=value["add_generation_prompt"],
        rendered=value["rendered"],
    )


def _check_message(where: str, message: Any) -> None:
    _expect(where, "message", message, (dict,))
    _expect(where, "role", message.get("role"), (str,))
    calls = message.get("tool_calls")
    _expect(where, "tool_calls", calls, (list, type(None)))
    for call in calls or ():
        _expect(where, "call", call, (dict,))
        function = call.get("function", call)
        _expect(where, "function", function, (dict,))
        _expect(where, "function name", function.get("name"), (str,))
        if "arguments" not in function:
            raise UsageError(f"{where}: arguments: missing; expected a JSON value")


def _expect(where: str, field: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise UsageError(f"{where}: {field}: {brief(value)}; expected {_kinds(kinds)}")


def _kinds(kinds: tuple[type, ...]) -> str:
    return " or ".join(_NAMES[kind] for kind in kinds)
