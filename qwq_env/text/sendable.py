"""Foreign text as any chat server takes it, and takes it for text."""

from __future__ import annotations

import re

NO_TEXT = "(no text)"
_CONTROL = re.compile(
    r"<(?=[|｜][^<>\s]{1,40}[|｜]>|/?(?:think|tool_call|tool_response)>"
    r"|/s>|(?:start|end)_of_turn>)"
)


def sendable_text(text: str, otherwise: str = "") -> str:
    """Return a text that UTF-8 can write, and `otherwise` for one of white space alone."""
    if not text.strip():
        return otherwise or text
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def without_control(text: str) -> str:
    """Return foreign text with `&lt;` where it spells a control token of a chat template.

    A server tokenizes messages with its template around them, and many make a control token of
    whatever spells one: a web page could end its own turn and speak as the model. Known are
    `<|...|>`, in which nearly all families write theirs, `</s>`, Gemma's, and the tags of QwQ's
    dialect.
    """
    return _CONTROL.sub("&lt;", text)
