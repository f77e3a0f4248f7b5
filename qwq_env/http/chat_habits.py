"""What one chat server wants to be asked like, as far as it has said so by refusing.

Every server leaves out something of OpenAI's API or adds to it. Rather than to know them all, a
request that is refused for such a thing is asked again without it, and later ones at once so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from qwq_env.http.refusal import Refusal

_log = logging.getLogger(__name__)

TOKEN_KEYS = ("max_tokens", "max_completion_tokens")
THINKING_FIELDS = ("reasoning_content", "reasoning")


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`, object by object; None takes a key out."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def token_bounds(asked: Mapping[str, Any]) -> list[int]:
    """Return how many tokens a request asks for, by whichever names it does."""
    return [asked[key] for key in TOKEN_KEYS if isinstance(asked.get(key), int)]


class Habits:
    """Shapes the requests to one server, and learns from what it refuses.

    `extra` is merged into each (see `merged`). A number there for `max_tokens` or
    `max_completion_tokens` is a bound: fewer are asked for where fewer are left.
    """

    def __init__(self, extra: Mapping[str, Any] | None = None) -> None:
        self._extra = dict(extra or {})
        self._streams = self._counts = True
        self._most_tokens: int | None = None
        self._thinking: Literal["as it came", "always", "never"] = "as it came"
        self._thinking_field = THINKING_FIELDS[0]

    def shaped(self, body: Mapping[str, Any], *, bounded: bool = True) -> dict[str, Any]:
        """Return the request for `body`; without `bounded`, of as many tokens as there are."""
        asked = merged({**self._streaming(), **body}, self._extra)
        if not asked.get("stream"):
            asked.pop("stream_options", None)
        for key in TOKEN_KEYS:
            if not bounded:
                asked.pop(key, None)
            elif isinstance(asked.get(key), int):
                bounds = (asked[key], body.get("max_tokens"), self._most_tokens)
                asked[key] = min(bound for bound in bounds if bound is not None)
        if "messages" in asked:
            asked["messages"] = self._with_thinking(asked["messages"])
        return asked

    def learn(self, refusal: Refusal, asked: Mapping[str, Any]) -> None:
        """Take note of why `asked` was refused."""
        if refusal.setting == "stream_options":
            self._counts = False
        elif refusal.setting == "stream" and refusal.kind != "context":
            self._streams = False
        elif refusal.kind == "tokens":
            wanted = max(token_bounds(asked), default=0)
            allowed = [limit for limit in refusal.limits if 0 < limit < wanted]
            if allowed:
                self._most_tokens = max(allowed)
                # Not in silence: turns will now be cut where the settings do not say so.
                _log.warning(
                    "max_tokens: %d were asked for; the server gives a reply at most %d: %s",
                    wanted, max(allowed), refusal.message,
                )  # fmt: skip
        elif refusal.kind == "thinking_wanted":
            self._thinking = "always"
            named = [field for field in THINKING_FIELDS if field in refusal.message]
            self._thinking_field = named[0] if named else THINKING_FIELDS[0]
        elif refusal.kind == "thinking_unwanted":
            self._thinking = "never"

    def _streaming(self) -> dict[str, Any]:
        if not self._streams:
            return {}
        options = {"stream_options": {"include_usage": True}} if self._counts else {}
        return {"stream": True, **options}

    def _with_thinking(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the messages with the field of thinking where the server wants it.

        One that has thought in some turn and demands the field demands it in every turn, also in
        those without a thought: it is empty there.
        """
        if self._thinking == "never":
            return [_without_thinking(message) for message in messages]
        turns = [message for message in messages if message.get("role") == "assistant"]
        field = next((key for turn in turns for key in THINKING_FIELDS if key in turn), None)
        if self._thinking == "always":
            field = self._thinking_field
        if field is None:
            return list(messages)
        return [
            {**_without_thinking(message), field: _thought(message)}
            if message.get("role") == "assistant"
            else message
            for message in messages
        ]


def _thought(message: Mapping[str, Any]) -> str:
    return next((message[key] for key in THINKING_FIELDS if message.get(key)), "")


def _without_thinking(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in message.items() if key not in THINKING_FIELDS}
