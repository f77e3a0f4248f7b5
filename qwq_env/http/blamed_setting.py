"""Which setting of a request an error blames, by the place that it names or by its words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qwq_env.http.error_body import ErrorBody

SETTINGS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "max_completion_tokens",
     "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "enable_thinking",
     "chat_template_kwargs", "reasoning_effort", "reasoning", "thinking", "thinking_budget",
     "response_format", "frequency_penalty", "presence_penalty", "repetition_penalty", "logprobs",
     "top_logprobs", "logit_bias"}
)  # fmt: skip
"""Settings that may be blamed by name in a message, beside those that were sent."""
_CONVERSATION = frozenset(
    {"messages", "prompt", "input", "inputs", "contents", "content", "role", "tool_calls",
     "tool_call_id", "function", "name", "arguments", "reasoning_content"}
)  # fmt: skip
"""Parts of a request that hold what task, tools and model wrote."""
_PLAIN_WORDS = frozenset({"model", "stop", "user", "n", "tools", "stream", "seed", "thinking"})
"""Names of settings that a sentence may hold as words; they count in quotes only."""
_BLAMED = (
    r"\b(?:unknown|unsupported|unrecognized|unexpected|invalid|extra|does not support|known"
    r"|not supported)\b.{0,40}?\b(?:parameter|field|argument|name|key|property|input"
    r"|value)s?\b(?: supplied| for)?[^\w]{0,6}(?P<name>\w+)",
    r"^(?:the )?(?:parameter|property|field|argument|setting)?[ .]?"
    r"(?P<quote>['\"`]?)(?P<name>[a-z]\w*)(?:\.\w+)*(?P=quote) ?:? .{0,80}?(?:unsupported"
    r"|not (?:supported|permitted|allowed|valid)|must be|should be|invalid|range|required"
    r"|extra inputs|less than|greater than|too (?:large|small|high|low)|does not support"
    r"|cannot (?:both )?be|incompatible)",
    r"^invalid (?P<name>[a-z]\w*):",
    r"(?:parameter|property|argument|field|range of|value for|into the target type:"
    r"|validation errors? for \w+)\W{1,3}(?P<name>[a-z]\w*)",
)
_OF_CONVERSATION = re.compile(r"^\W*(?:invalid )?\W*(?:messages?|inputs?|prompt|contents)\b", re.I)
_REACH = 200
"""Characters of a message in which a setting is named."""
STREAMING = re.compile(
    r"^.{0,60}\bstream(?:ing|ed)?\b.{0,60}\b(?:not (?:yet |currently )?(?:be )?(?:supported|allowed"
    r"|available|implemented|possible)|unsupported)|^.{0,100}n(?:o|')t support stream",
    re.IGNORECASE,
)
"""How servers say that they cannot stream, or not with tools."""
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in _BLAMED)


def blamed_setting(error: ErrorBody, sent: frozenset[str]) -> str:
    """Return the setting that an error blames, `""` if none, or if it blames the conversation.

    `sent` are the settings of the request.
    """
    if error.places:
        parts = error.places[0]
        return "" if parts[0].lower() in _CONVERSATION else parts[0]
    if any(map(STREAMING.search, error.heads)):
        return "stream"
    known = (SETTINGS | sent) - _CONVERSATION
    names = [name for head in error.heads for name in _named(head) if name in known]
    return names[0] if names else ""


def _named(head: str) -> Iterator[str]:
    if _OF_CONVERSATION.search(head):
        return
    for pattern in _PATTERNS:
        if found := pattern.search(head[:_REACH]):
            name = found["name"].lower()
            quoted = head[found.start("name") - 1 : found.start("name")] in {"'", '"', "`"}
            if quoted or name not in _PLAIN_WORDS:
                yield name
