"""The texts of a message's content, which is one text or a list of parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from qwq_env.http.chat_calls import text_of

_THINKING_PARTS = frozenset({"thinking", "reasoning", "reasoning_content", "reasoning_text"})


def content_parts(
    content: Any, kind: Literal["text", "thinking"] = "text"
) -> list[tuple[str, str]]:
    """Return the texts of a content and which of them are thinking.

    A content is a text or a list of parts, such as `{"type": "text", "text": ...}` and
    `{"type": "thinking", "thinking": ...}`, in which parts stand again (Mistral). Raises
    `TypeError` for anything else; a part of another kind, as a picture, holds no text.
    """
    if not isinstance(content, list):
        return [(kind, text_of(content))]
    found: list[tuple[str, str]] = []
    for part in content:
        if not isinstance(part, Mapping):
            found += content_parts(part, kind)
            continue
        name = part.get("type")
        inner: Literal["text", "thinking"] = "thinking" if name in _THINKING_PARTS else kind
        for key in ("text", "thinking", "reasoning", "summary", "refusal"):
            if isinstance(value := part.get(key), str | list):
                found += content_parts(value, inner)
                break
    return found
