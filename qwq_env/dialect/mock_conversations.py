"""Conversations with thinking and calls, in every order that an episode makes of them."""

from __future__ import annotations

from typing import Any

from qwq_env.dialect.base import OneTool

Message = dict[str, Any]

CALCULATOR = OneTool("calculator", "expression")


def mock_schema(tool: OneTool) -> dict[str, Any]:
    """Return the schema of a tool that takes one text."""
    return {
        "type": "function",
        "function": {
            "name": tool.tool,
            "description": "Evaluate an arithmetic expression.",
            "parameters": {
                "type": "object",
                "properties": {tool.argument: {"type": "string"}},
                "required": [tool.argument],
            },
        },
    }


def mock_conversations(tool: OneTool) -> dict[str, list[Message]]:
    """Return conversations by name, in which all calls are of `tool`."""
    return {
        name: [_calling(tool, message) for message in messages]
        for name, messages in _CONVERSATIONS.items()
    }


def _calling(tool: OneTool, message: Message) -> Message:
    calls = [
        {"type": "function", "function": {"name": tool.tool, "arguments": {tool.argument: text}}}
        for text in message.get("tool_calls", ())
    ]
    if calls:
        return {**message, "tool_calls": calls}
    return {**message, "name": tool.tool} if message["role"] == "tool" else message


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _model(thought: str, text: str, *expressions: str) -> Message:
    message = {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\n{text}"}
    return {**message, "tool_calls": expressions} if expressions else message


def _tool(text: str) -> Message:
    return {"role": "tool", "content": text}


_CONVERSATIONS: dict[str, list[Message]] = {
    "one answer": [_user("What is 2+2?"), _model("That is easy.", "4")],
    "two questions": [
        _user("What is 2+2?"),
        _model("That is easy.", "4"),
        _user("And 3+3?"),
        _model("Easy, too.", "6"),
    ],
    "one call": [
        _user("What is 7*8?"),
        _model("I should compute it.", "Let me see.", "7*8"),
        _tool("56"),
        _model("There it is.", "56"),
    ],
    "a call without words": [
        {"role": "system", "content": "Be brief."},
        _user("What is 7*8?"),
        _model("I should compute it.", "", "7*8"),
        _tool("56"),
        _model("There it is.", "56"),
    ],
    "calls turn by turn": [
        _user("What is 7*8, 1+1 and 5-3?"),
        _model("Two at once.", "Both:", "7*8", "1+1"),
        _tool("56"),
        _tool("2"),
        _model("One is left.", "The last:", "5-3"),
        _tool("Error: é → no\n"),
        _model("I know that one.", "56, 2 and 2"),
    ],
}
