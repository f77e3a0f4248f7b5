"""What of a conversation can be sent back to any chat server, whatever the model wrote in it.

Servers refuse a history whose calls have odd names, whose arguments are no JSON object, whose
messages are empty, or whose text no UTF-8 can write; and they would refuse it in every later turn.
So what goes back is made such that the model still reads in it what it meant. The trajectory keeps
what it wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from qwq_env.turn import MalformedCall, ToolCall

NO_OUTPUT = "(no output)"
NO_TEXT = "(no text)"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_ODD = re.compile(r"[^a-zA-Z0-9_-]+")
_CONTROL = re.compile(
    r"<(?=[|｜][^<>\s]{1,40}[|｜]>|/?(?:think|tool_call|tool_response)>"
    r"|/s>|(?:start|end)_of_turn>)"
)
_LARGEST_DIGITS = 300
"""A number of more is beyond a float, which servers written in Go and Rust read numbers as."""


def sendable_call(
    native: Mapping[str, Any], request: ToolCall | MalformedCall, tools: Collection[str]
) -> dict[str, Any]:
    """Return a call in a form that every server takes; `tools` are the names that it knows.

    Its arguments are those that ran: as the model wrote them if they are a JSON object, written
    anew if they could only be read with forbearance, and what could not be read at all stands
    under `malformed` in an object.
    """
    function = native["function"]
    return {
        "id": native["id"],
        "type": "function",
        "function": {
            "name": sendable_name(function["name"], tools),
            "arguments": _sendable_arguments(function["arguments"], request),
        },
    }


def sendable_name(name: str, tools: Collection[str] = ()) -> str:
    """Return a name of 1 to 64 letters, digits, `_` and `-`; one of `tools` stays as it is."""
    if name in tools or _NAME.fullmatch(name):
        return name
    safe = _ODD.sub("_", name).strip("_")[:63] or "unnamed"
    return safe if _NAME.fullmatch(safe) else f"_{safe}"


def sendable_text(text: str, otherwise: str = "") -> str:
    """Return a text that UTF-8 can write, and `otherwise` for one of white space alone."""
    if not text.strip():
        return otherwise or text
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def without_control(text: str) -> str:
    """Return a tool's text with `&lt;` where it spells a control token of a chat template.

    A server tokenizes messages with its template around them, and many make a control token of
    whatever spells one: a web page could end its own turn and speak as the model. Known are
    `<|...|>`, in which nearly all families write theirs, `</s>`, Gemma's, and the tags of QwQ's
    dialect.
    """
    return _CONTROL.sub("&lt;", text)


def _sendable_arguments(written: str, request: ToolCall | MalformedCall) -> str:
    if isinstance(request, MalformedCall):
        return json.dumps({"malformed": sendable_text(written)} if written.strip() else {})
    value = request.arguments
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        return json.dumps({"malformed": sendable_text(written)})
    plain = _plain(value)
    return written if plain == value and _is_strict(written) else json.dumps(plain)


def _is_strict(written: str) -> bool:
    try:
        return isinstance(json.loads(written), dict)
    except ValueError:
        return False


def _plain(value: Any) -> Any:
    """Return JSON without unpaired surrogates, and with numbers that are too large as text."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and abs(value) >= 10**_LARGEST_DIGITS:
        return str(value)
    return value
