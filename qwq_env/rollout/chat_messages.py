"""An episode as the messages of a chat server, in the dialect's own words where it has any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from qwq_env.dialect import chatml
from qwq_env.dialect.base import Dialect, Messages, Piece, Schemas
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn


class ChatReply(NamedTuple):
    """A reply: its thinking and its content as texts, and the calls it made natively.

    `thinking` is what came apart from the content, in the field `thinking_key`; thinking that came
    inline is in the content still. `native` holds the wire form of the calls, to be sent back with
    their ids. `tokens` is what the server counted of the reply, thinking included, and
    `prompt_tokens` of all before it; None if it did not say.
    """

    thinking: str
    content: str
    requests: tuple[ToolCall | MalformedCall, ...] = ()
    native: tuple[Mapping[str, Any], ...] = ()
    finish_reason: Literal["stop", "length"] = "stop"
    tokens: int | None = None
    prompt_tokens: int | None = None
    thinking_key: str = "reasoning_content"


class Transcript:
    """The messages of an episode: `kept` for the trajectory, `sent` for the server's next turn.

    Kept is everything, in one form: an assistant's thinking, whether it came apart or between
    `<think>` tags, is its `reasoning_content`, and its `content` is the rest. An answer is graded
    without it.

    What is sent follows the thinking policy as far as a chat server lets it. With "keep" a reply
    goes back as it came: inline thinking in the content, thinking that came apart in the field it
    came in. Some servers demand the latter between a call and its result (DeepSeek), some leave it
    out of what the model reads, and templates such as QwQ's cut inline thinking out; that is
    theirs to decide, and a token policy is the way around it. With "strip" no thinking goes back.
    """

    def __init__(
        self, opening: Messages, dialect: Dialect, thinking: Literal["keep", "strip"]
    ) -> None:
        self.kept: list[Mapping[str, Any]] = list(opening)
        self.sent: list[Mapping[str, Any]] = list(opening)
        self._dialect, self._keeps = dialect, thinking == "keep"

    def add_reply(self, reply: ChatReply) -> Turn:
        """Add a reply and return it as a turn: native calls as they are, textual ones parsed.

        One of no words and no calls, as of a context that is full, leaves no message.
        """
        parsed = self._dialect.parse_message(reply.content)
        thinking = "\n\n".join(filter(None, (reply.thinking, parsed.thinking)))
        if reply.thinking or reply.content or reply.native:
            calls = {"tool_calls": [dict(call) for call in reply.native]} if reply.native else {}
            rest = reply.content[parsed.thinking_end :].lstrip("\n")
            kept = {"role": "assistant", "content": rest}
            self.kept.append(kept | ({"reasoning_content": thinking} if thinking else {}) | calls)
            self.sent.append(self._assistant(reply, rest) | calls)
        head = f"<think>\n{reply.thinking}\n</think>\n\n" if reply.thinking else ""
        return Turn(
            head + reply.content,
            thinking,
            parsed.answer,
            reply.requests or parsed.requests,
            len(head) + parsed.thinking_end,
            closed=True,
        )

    def add_results(self, reply: ChatReply, results: Sequence[CallResult]) -> str:
        """Add what the calls of `reply` got, and return its text."""
        if reply.native:
            messages: list[dict[str, Any]] = [
                {"role": "tool", "tool_call_id": call["id"], "name": result.name,
                 "content": result.content}
                for call, result in zip(reply.native, results, strict=True)
            ]  # fmt: skip
        else:
            shown = _unwrapped(self._dialect.render_results(results, closed=True), self._dialect)
            messages = [{"role": "user", "content": shown}]
        self.kept += messages
        self.sent += messages
        return "\n".join(message["content"] for message in messages)

    def _assistant(self, reply: ChatReply, rest: str) -> dict[str, Any]:
        if not self._keeps:
            return {"role": "assistant", "content": rest}
        apart = {reply.thinking_key: reply.thinking} if reply.thinking else {}
        return {"role": "assistant", "content": reply.content, **apart}


def with_instructions(messages: Messages, tools: Schemas, dialect: Dialect) -> Messages:
    """Return `messages` with the dialect's account of the tools in the system message.

    It is for servers that are not told of the tools otherwise.
    """
    if not tools:
        return messages
    has_system = bool(messages) and messages[0].get("role") == "system"
    own, rest = (messages[:1], messages[1:]) if has_system else ([], messages)
    pieces = dialect.render(own, tools, add_generation_prompt=False)
    return [{"role": "system", "content": _unwrapped(pieces, dialect)}, *rest]


def text_stops(dialect: Dialect) -> tuple[str, ...]:
    """Return the strings at which a turn ends in its text; the control tokens end it anyway."""
    return tuple(stop for stop in dialect.stop if stop not in chatml.ENDS)


def _unwrapped(pieces: Sequence[Piece], dialect: Dialect) -> str:
    """Return the text of one rendered message without the control text of its turn.

    Only what the dialect wrote itself is unwrapped: what a tool or a task spells stays.
    """
    opening = re.escape(dialect.thinking_opening)
    wrapping = re.compile(
        rf"{re.escape(chatml.ASSISTANT)}(?:{opening})?|<\|im_start\|>\w+\n?|{re.escape(chatml.END)}\n?"
    )
    texts = (wrapping.sub("", text) if control else text for text, control in pieces)
    return "".join(texts).strip("\n")
