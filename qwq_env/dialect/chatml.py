"""ChatML: the turns in which every dialect here wraps what it says.

The role headers and `<|im_end|>` are control text; what stands between them is not, whoever
wrote it. Messages are read by one rule: see `content_of`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwq_env.dialect.base import Message, Messages, Piece
from qwq_env.errors import UsageError, brief

END = "<|im_end|>"
ENDS = (END, "<|endoftext|>")
PADS = ("<|endoftext|>", "<|begin_of_text|>", "<|startoftext|>", "<bos>", "<pad>")
THINK, END_THINK = "<think>", "</think>"
ROLES = ("system", "user", "assistant", "tool")
ASSISTANT = "<|im_start|>assistant\n"


def content_of(message: Message) -> str:
    """Return a message's text; a missing one and `None` are empty.

    Raises `UsageError` for anything else (a list of parts, a number): nothing here could show
    it to the model as it was meant.
    """
    content = message.get("content")
    if content is None:
        return ""
    if not isinstance(content, str):
        kind = type(content).__name__
        raise UsageError(
            f"message content: {kind} in a {brief(message.get('role'))} message; want text"
        )
    return content


def role_of(message: Message) -> str:
    """Return a message's role. Raises `UsageError` for one that no dialect here knows."""
    role = message.get("role")
    if role not in ROLES:
        raise UsageError(f"message role: {brief(role)}; expected {', '.join(ROLES)}")
    return str(role)


def function_of(item: Any) -> Any:
    """Return the function of a call or a schema, whether OpenAI's wrapper is around it or not."""
    return item.get("function", item) if isinstance(item, Mapping) else None


def schema_of(tool: Any) -> Mapping[str, Any]:
    """Return the function that a schema describes. Raises `UsageError` for what is none."""
    function = function_of(tool)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UsageError(f"tool: {brief(tool)}; expected an object with a name")
    return function


def call_of(call: Any) -> tuple[str, Any]:
    """Return a call's name and its arguments as they are given.

    Raises `UsageError` for what is no call.
    """
    function = function_of(call)
    if not isinstance(function, Mapping) or not {"name", "arguments"} <= function.keys():
        raise UsageError(f"tool call: {brief(call)}; expected an object with name and arguments")
    return str(function["name"]), function["arguments"]


def decoded_call_of(call: Any) -> tuple[str, Mapping[str, Any]]:
    """Return a call's name and arguments, decoded where they are text, as OpenAI sends them.

    Raises `UsageError` for what is no call, and for arguments that are no JSON object.
    """
    name, arguments = call_of(call)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            pass
    if not isinstance(arguments, Mapping):
        raise UsageError(
            f"tool call {brief(name)}: arguments {brief(arguments)}; expected an object"
        )
    return name, arguments


def turn(role: str, content: str) -> list[Piece]:
    """Render one closed turn."""
    head, tail = f"<|im_start|>{role}\n", f"{END}\n"
    return [Piece(head, control=True), Piece(content), Piece(tail, control=True)]


def system(messages: Messages, instructions: Sequence[Piece]) -> Iterator[Piece]:
    """Render the first system message, if there is one, followed by `instructions`."""
    own = content_of(messages[0]) if messages and messages[0].get("role") == "system" else ""
    if not own and not instructions:
        return
    yield Piece("<|im_start|>system\n", control=True)
    yield Piece(f"{own}\n\n" if own and instructions else own)
    yield from instructions
    yield Piece(f"{END}\n", control=True)


def thinking(content: str) -> Iterator[Piece]:
    """Render an assistant's text: the tags around its thinking are control text, no other is."""
    opening = THINK if content.startswith(THINK) else ""
    if opening:
        yield Piece(opening, control=True)
        content = content[len(opening) :]
    thought, closing, answer = content.rpartition(END_THINK)
    if closing:
        yield Piece(thought)
        yield Piece(closing, control=True)
    yield Piece(answer)


def strip_end(text: str) -> tuple[str, bool]:
    """Return the text without the control token that ends the turn, and whether it was there.

    Padding and blank space behind it are dropped with it: a batch is padded to its longest row.
    """
    body = position = len(text)
    while True:
        while position and text[position - 1].isspace():
            position -= 1
        end = next((end for end in ENDS if text.endswith(end, 0, position)), None)
        if end is None:
            return text[:body], body < len(text)
        body = position = position - len(end)
