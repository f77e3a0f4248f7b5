"""An episode as the messages of a chat server, in the dialect's own words where it has any."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from qwq_env.chat_model import ChatReply
from qwq_env.dialect import chatml
from qwq_env.dialect.base import Dialect, Messages, Piece, Schemas
from qwq_env.messages import turn_of
from qwq_env.rollout.chat_history import NO_OUTPUT, sendable_call, sendable_name
from qwq_env.text.sendable import NO_TEXT, sendable_text, without_control
from qwq_env.turn import CallResult, Turn


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
    What a server would refuse, or take for its own markup, is mended in what is sent, see
    `chat_history`; the opening is the operator's, and may hold markup.
    """

    def __init__(
        self,
        opening: Messages,
        dialect: Dialect,
        thinking: Literal["keep", "strip"],
        tools: Collection[str] = (),
    ) -> None:
        """`tools` are the names of those that the server is told of."""
        self.kept: list[Mapping[str, Any]] = list(opening)
        self.sent: list[Mapping[str, Any]] = [
            {key: sendable_text(value) if isinstance(value, str) else value
             for key, value in message.items()}
            for message in opening
        ]  # fmt: skip
        self._dialect, self._keeps, self._tools = dialect, thinking == "keep", tools

    def add_reply(self, reply: ChatReply) -> Turn:
        """Add a reply and return it as a turn: native calls as they are, textual ones parsed.

        One of no words and no calls, as of a context that is full, leaves no message.
        """
        turn = turn_of(self._dialect, reply.thinking, reply.content, reply.requests)
        if reply.thinking or reply.content or turn.requests:
            rest = turn.text[turn.thinking_end :].lstrip("\n")
            kept: dict[str, Any] = {"role": "assistant", "content": rest}
            kept |= {"reasoning_content": turn.thinking} if turn.thinking else {}
            kept |= {"tool_calls": [dict(call) for call in reply.native]} if reply.native else {}
            self.kept.append(kept)
            self.sent.append(self._assistant(reply, rest))
        return turn

    def add_results(self, reply: ChatReply, results: Sequence[CallResult]) -> str:
        """Add what the calls of `reply` got, and return the text that is sent of it."""
        if not reply.native:
            pieces = self._dialect.render_results(results, closed=True)
            self.kept.append({"role": "user", "content": _unwrapped(pieces, self._dialect)})
            foreign = [p if p.control else Piece(without_control(p.text)) for p in pieces]
            shown = sendable_text(_unwrapped(foreign, self._dialect), NO_OUTPUT)
            self.sent.append({"role": "user", "content": shown})
            return shown
        shown_all = []
        for call, result in zip(reply.native, results, strict=True):
            name = sendable_name(call["function"]["name"], self._tools)
            shown = sendable_text(without_control(result.content), NO_OUTPUT)
            kept = {"role": "tool", "tool_call_id": call["id"], "name": result.name}
            self.kept.append(kept | {"content": result.content})
            self.sent.append(kept | {"name": name, "content": shown})
            shown_all.append(shown)
        return "\n".join(shown_all)

    def add_messages(self, messages: Messages) -> str:
        """Add what a user said, and return the text that is sent of it."""
        if self.sent and self.sent[-1].get("role") != "assistant":
            # The reply was empty; many servers want the roles to take turns.
            self.kept.append({"role": "assistant", "content": ""})
            self.sent.append({"role": "assistant", "content": NO_TEXT})
        self.kept += messages
        texts = [sendable_text(without_control(message["content"])) for message in messages]
        self.sent += [
            {**message, "content": text} for message, text in zip(messages, texts, strict=True)
        ]
        return "\n".join(texts)

    def _assistant(self, reply: ChatReply, rest: str) -> dict[str, Any]:
        content = reply.content if self._keeps else rest
        message: dict[str, Any] = {"role": "assistant"}
        if reply.native:
            calls = zip(reply.native, reply.requests, strict=True)
            # Some servers take no text of white space alone; beside calls there may be none.
            message["content"] = sendable_text(content) if content.strip() else ""
            message["tool_calls"] = [sendable_call(*call, self._tools) for call in calls]
        else:
            message["content"] = sendable_text(content, NO_TEXT)
        key = "reasoning_content" if reply.thinking_key is None else reply.thinking_key
        if self._keeps and key and (reply.thinking or reply.thinking_key):
            message[key] = sendable_text(reply.thinking)
        return message


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
