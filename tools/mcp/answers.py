"""What an MCP server says of its tools, and what its tools answer, as a model may read it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from qwq_env.errors import InfrastructureError, ToolError
from qwq_env.text.shown import shown
from qwq_env.tool import ToolResult

MACHINERY: Final = {"qwq_env": "infrastructure"}
"""The `data` of an error by which a server of ours says that its machinery failed.

No other error counts as lost: a server may answer so to what only the model did."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_MOST_NAME: Final = 64


def safe_name(name: str, taken: Collection[str]) -> str:
    """Return a name that a model can write for a tool, and that no other tool has.

    Names of ASCII letters, digits, `_`, `.` and `-` stay as they are.
    """
    if not _NAME.fullmatch(name):
        name = _UNSAFE.sub("_", name).strip("_")[:_MOST_NAME] or "tool"
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name[: _MOST_NAME - 4]}_{number}"
    return made


def parameters_of(schema: Any) -> Any:
    """Return a tool's input schema as ours must be: of an object, with patterns that Python reads.

    A missing or empty one is that of no arguments. JSON Schema's patterns are JavaScript's; what
    Python cannot read is left to the server to check.
    """
    if schema is None:
        schema = {}
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type", "object")
    if isinstance(kind, list) and "object" in kind:
        kind = "object"
    # In the order of our own: what a model is shown does not go by how a server writes its JSON.
    first = {"type": kind, "properties": {}}
    return _readable({**first, **schema, "type": kind})


def _readable(part: Any) -> Any:
    if isinstance(part, list):
        return [_readable(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {
        name: value
        for name, value in part.items()
        if not (name == "pattern" and isinstance(value, str) and not _compiles(value))
    }
    if isinstance(patterns := kept.get("patternProperties"), dict):
        kept["patternProperties"] = {k: v for k, v in patterns.items() if _compiles(k)}
    return {name: _readable(value) for name, value in kept.items()}


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def result_of(answer: Any, server: str) -> ToolResult:
    """Return what `tools/call` was answered as the model reads it.

    Structured content is shown as JSON, unless a text beside it says the same. Raises `ToolError`
    where the tool says that it failed, and `InfrastructureError` for what is no answer.
    """
    if not isinstance(answer, dict):
        raise InfrastructureError(f"{server}: answered without content")
    _check_type(answer, server)
    content = answer.get("content")
    structured = "structuredContent" in answer
    if not isinstance(content, list) and not structured:
        raise InfrastructureError(f"{server}: answered without content")
    texts = [_text(item) for item in content] if isinstance(content, list) else []
    if structured and not any(_says(text, answer["structuredContent"]) for text in texts):
        texts.append(shown(answer["structuredContent"]))
    text = "\n".join(texts)
    if answer.get("isError") is True:
        # An observation begins with that word, too.
        raise ToolError(text.removeprefix("Error: ") or "the tool failed and did not say why")
    return ToolResult(text)


def _check_type(answer: Mapping[str, Any], server: str) -> None:
    """Refuse a result that is not the whole result (protocol of 2026-07-28)."""
    kind = answer.get("resultType", "complete")
    if kind == "input_required":
        raise ToolError("the tool asks for input that only a person could give")
    if kind != "complete":
        raise InfrastructureError(f"{server}: answered with a result of type {kind!r:.80}")


def _says(text: str, structured: Any) -> bool:
    """Say whether a text is the structured content: as JSON, or as the one value it wraps."""
    wraps = isinstance(structured, dict) and list(structured) == ["result"]
    if wraps and text == shown(structured["result"]):
        return True
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return bool(text == structured)


def _text(item: Any) -> str:
    """Return what a model can read of one part of an answer: its text, or what it is."""
    if not isinstance(item, dict):
        return shown(item)
    if item.get("type") == "text":
        return str(item.get("text", ""))
    resource = item.get("resource")
    if isinstance(resource, dict):
        if isinstance(resource.get("text"), str):
            return str(resource["text"])
        item = {**resource, "type": "resource"}
    said = [str(item[key]) for key in ("name", "uri", "mimeType", "description") if item.get(key)]
    kind = str(item.get("type", "part")).replace("_", " ")
    return f"[{kind}: {', '.join(said) or 'not text'}]"
