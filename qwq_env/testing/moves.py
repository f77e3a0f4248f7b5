"""Moves of a scripted policy: what it says or calls, as messages and as a dialect's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwq_env.dialect.base import Dialect, Message, text_of
from qwq_env.errors import UsageError, brief
from qwq_env.turn import ToolCall

Move = str | ToolCall | Sequence[ToolCall] | Message
"""A text, one call or several of a turn, or an assistant message."""

_THOUGHT = "I know what to do.\n</think>\n\n"


def message_of(move: Move) -> Message:
    """Return a move as an assistant message. Raises `UsageError` for what is none."""
    if isinstance(move, str):
        return {"role": "assistant", "content": move}
    calls = [move] if isinstance(move, ToolCall) else move
    if isinstance(calls, Sequence) and all(isinstance(each, ToolCall) for each in calls):
        return {"role": "assistant", "content": None, "tool_calls": [_written(c) for c in calls]}
    if isinstance(move, dict):
        return move
    raise UsageError(f"move: {brief(move)}; expected a text, a ToolCall, some, or a message")


def text_in(dialect: Dialect, move: Move) -> str | None:
    """Return a move as a model writes it in `dialect`, its end included; a text is one already.

    None where that is not known: the dialect does not read back what it renders of these calls.
    """
    if isinstance(move, str):
        return move
    message = dict(message_of(move))
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    content = str(message.get("content") or "")
    if "</think>" not in content and dialect.thinking_opening:
        content = f"{_THOUGHT}{content}"
    message["content"] = dialect.thinking_opening + content
    user = {"role": "user", "content": "x"}
    opened = text_of(dialect.render([user]))
    whole = text_of(dialect.render([user, message], add_generation_prompt=False))
    if not whole.startswith(opened):
        return None
    text = dialect.first_turn(whole[len(opened) :])
    read = [call.name for call in dialect.parse(text).calls]
    return text if read == [call["name"] for call in calls] else None


def _written(call: ToolCall) -> dict[str, Any]:
    return {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
