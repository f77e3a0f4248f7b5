"""Why a reply ended, in the words of the servers there are."""

from __future__ import annotations

import re
from typing import Literal

FinishReason = Literal["stop", "length", "content_filter", "malformed_call"]

_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "token_limit"})
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "safety", "recitation", "prohibited_content", "refusal",
     "blocklist", "spii", "sensitive", "guardrail_intervened"}
)  # fmt: skip
_GIVEN_UP = frozenset(
    {"abort", "aborted", "error", "insufficient_system_resource", "network_error", "cancelled",
     "timeout"}
)  # fmt: skip
"""Reasons with which servers (vLLM, SGLang, DeepSeek) end a reply that they could not finish."""
_MALFORMED = re.compile("malformed_(?:function|tool)_call|unexpected_tool_call")


def finish_reason(word: str) -> FinishReason | None:
    """Return what a server's word means; None for a reply that it gave up.

    "malformed_call" is a call of the model's that the server could not read (Gemini). A word that
    nobody knows is an end like any other: "eos", "end_turn", "tool_use".
    """
    reason = word.lower()
    if reason in _GIVEN_UP:
        return None
    if _MALFORMED.search(reason):
        return "malformed_call"
    if reason in _CUT:
        return "length"
    return "content_filter" if reason in _FILTERED else "stop"
