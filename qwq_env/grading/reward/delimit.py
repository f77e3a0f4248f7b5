"""Untrusted text in a judge's prompt: marked where it begins and ends, unable to end itself.

Two walls, each enough alone. The marks carry a random word, new for each request, that no answer
can have known. And `<`, `>`, `&` and bracketed markers such as `[INST]` are written as entities:
the text can hold no mark at all, and none of the control tokens that the judge's own chat template
would make of it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

_BRACKETED = re.compile(r"\[(/?[A-Z_]{2,})\]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SPECIAL = re.compile("[&<>]")


def escape(text: str) -> str:
    """Return `text` with markup as entities, and unpaired surrogates as `?`."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    entities = _SPECIAL.sub(lambda match: _ENTITIES[match[0]], clean)
    return _BRACKETED.sub(r"&#91;\1&#93;", entities)


def enclose(parts: Mapping[str, str]) -> str:
    """Return each part between marks of its name, `<answer-3f…>` and `</answer-3f…>`."""
    word = secrets.token_hex(8)
    return "\n\n".join(
        f"<{name}-{word}>\n{escape(text)}\n</{name}-{word}>" for name, text in parts.items()
    )
