"""QwQ's dialect with a line for each tool in the prompt, where its template has whole schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwq_env.dialect import chatml
from qwq_env.dialect.base import Messages, Piece, Schemas
from qwq_env.dialect.qwq import QwqDialect

_HEAD = "You may call:"


class QwqBriefDialect(QwqDialect):
    """Calls and results as in `qwq`; of each tool the prompt says the name and its arguments.

    For policies that learn the form of a call from transcripts, as small ones must: the schema of a
    calculator and the frame around it are 300 tokens of each prompt, most of what there is to read.
    """

    name = "qwq-brief"

    def render(
        self, messages: Messages, tools: Schemas = (), *, add_generation_prompt: bool = True
    ) -> list[Piece]:
        """Render as `qwq` does, with the tools' signatures in the system message."""
        if tools:
            told = f"{_HEAD} {', '.join(map(_signature, tools))}"
            has_system = bool(messages) and messages[0].get("role") == "system"
            said = chatml.content_of(messages[0]) if has_system else ""
            content = f"{said}\n{told}" if said else told
            messages = [{"role": "system", "content": content}, *messages[has_system:]]
        return super().render(messages, (), add_generation_prompt=add_generation_prompt)


def _signature(tool: Mapping[str, Any]) -> str:
    function = tool["function"]
    names = function.get("parameters", {}).get("properties", {})
    return f"{function['name']}({', '.join(names)})"
