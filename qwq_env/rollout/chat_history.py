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

from qwq_env.text.sendable import sendable_text
from qwq_env.turn import MalformedCall, ToolCall

NO_OUTPUT = "(no output)"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_ODD = re.compile(r"[^a-zA-Z0-9_-]+")
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
