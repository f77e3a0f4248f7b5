"""A stored episode as messages of the OpenAI form, whatever its dialect wrote around them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from qwq_env.rollout.placed import PlacedSegment

Message = dict[str, Any]
"""`role`, `content`; an assistant's `reasoning_content` and `tool_calls`; a tool's `tool_call_id`,
`name`, and of a failure its `error`."""


def conversation_of(segments: Sequence[PlacedSegment]) -> list[Message]:
    """Return the messages of an episode, in order. Calls get ids of their own.

    A call that could not be read has its text as the argument `malformed`, and its `error`.
    """
    messages: list[Message] = []
    calls: list[Message] = []
    for (by, _), block in groupby(segments, key=lambda segment: (segment.by, segment.turn)):
        parts = [segment for segment in block if segment.kind != "markup"]
        if by == "model":
            turn = _assistant(parts, parts[0].turn if parts else 0)
            calls = list(turn.get("tool_calls", ()))
            messages.append(turn)
        elif by == "tool":
            messages += _results(parts, calls)
        else:
            messages += _said(parts)
    return messages


def _said(parts: Sequence[PlacedSegment]) -> Iterator[Message]:
    roles = {"system": "system", "text": "assistant", "result": "tool"}
    for role, same in groupby(parts, key=lambda part: roles.get(part.kind, "user")):
        texts = [part.text.strip("\n") for part in same]
        yield {"role": role, "content": "\n\n".join(filter(None, texts))}


def _assistant(parts: Sequence[PlacedSegment], turn: int) -> Message:
    def joined(*kinds: str) -> str:
        return "".join(part.text for part in parts if part.kind in kinds).strip("\n")

    message: Message = {"role": "assistant", "content": joined("text", "answer")}
    if thinking := joined("thinking"):
        message["reasoning_content"] = thinking
    made = [part for part in parts if part.kind == "call"]
    if made:
        message["tool_calls"] = [_call(part, f"call_{turn}_{i}") for i, part in enumerate(made)]
    return message


def _call(part: PlacedSegment, name: str) -> Message:
    arguments = {"malformed": part.text} if part.error else part.arguments
    written = json.dumps(arguments, ensure_ascii=False, default=str)
    call: Message = {"id": name, "type": "function",
                     "function": {"name": part.name, "arguments": written}}  # fmt: skip
    return call | ({"error": part.error} if part.error else {})


def _results(parts: Sequence[PlacedSegment], calls: Sequence[Message]) -> Iterator[Message]:
    for number, part in enumerate(parts):
        message: Message = {"role": "tool", "content": part.text, "name": part.name}
        if number < len(calls):
            message["tool_call_id"] = calls[number]["id"]
        yield message | ({"error": part.error} if part.error else {})
