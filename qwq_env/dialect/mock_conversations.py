"""Conversations with thinking and calls, in every order that an episode makes of them."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "calculator",
            "description": "Evaluate an arithmetic expression.",
            "parameters": {
                "type": "object",
                "properties": {"expression": {"type": "string"}},
                "required": ["expression"],
            },
        },
    }
]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _model(thought: str, text: str, *expressions: str) -> Message:
    message = {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\n{text}"}
    calls = [
        {"type": "function", "function": {"name": "calculator", "arguments": {"expression": e}}}
        for e in expressions
    ]
    return {**message, "tool_calls": calls} if calls else message


def _tool(text: str) -> Message:
    return {"role": "tool", "name": "calculator", "content": text}


CONVERSATIONS: dict[str, list[Message]] = {
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
