"""Simulated users: who answers the model in `ToolEnv.reply`.

```python
class Desk(ToolEnv):
    def reply(self, episode: Episode) -> Said | Awaitable[Said]:
        return self.user.reply(episode)
```

`make_user(user, instructions)` makes the one that plain data describe, as a recipe holds them:
`{"endpoint": "http://127.0.0.1:8000/v1", "model": "qwq", "temperature": 0.7}`.

A user knows what was said to it, and nothing else: the answers of turns without a call, never the
model's thinking, its calls or what they got.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from qwq_env.chat_model import ChatModel, ChatReply, Sampling
from qwq_env.checks import check_whole
from qwq_env.dialect.base import Message
from qwq_env.dialect.chatml import END_THINK, THINK
from qwq_env.episode import Episode, Said
from qwq_env.errors import InfrastructureError, ServersGone, UsageError, brief
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.http.served import Served, in_field, read_served, split_served
from qwq_env.task import Task
from qwq_env.text.sendable import NO_TEXT, sendable_text, without_control

_TURNED: Final = {"user": "assistant", "assistant": "user"}
_GREETING: Final = "Hello, how can I help you?"
_CHAT: Final = ("api_key_variable", "seeded", "in_flight", "attempts", "seconds", "extra")
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_USER: Final = ("stop", "greeting", "max_tokens")
_SECONDS: Final = 600.0
_EXPECTED: Final = "one with reply, chat:URL:MODEL, or an object with endpoint, model and settings"


@runtime_checkable
class User(Protocol):
    """Whoever answers the model."""

    def reply(self, episode: Episode) -> Said | Awaitable[Said]:
        """Say what the user answers; None ends the episode. See `ToolEnv.reply`."""
        ...


UserLike = User | ChatModel | Mapping[str, Any] | str
"""A user, or what `make_user` makes one of."""


def make_user(user: UserLike, instructions: str | Callable[[Task], str]) -> User:
    """Return the user that `user` names: itself, or a `ChatUser` of a model or behind a server.

    Data are `"chat:URL:MODEL"`, or an object: `endpoint` (an address, or a name that `qwq eval
    --endpoint` knows) and `model`; and if they are said `temperature`, `top_p`, `top_k`,
    `max_tokens`, `api_key_variable` (the environment variable that holds the key), `seeded` (true:
    each request carries a seed), `seconds` (600), `attempts`, `in_flight` and `extra` as of
    `OpenAIChat`, `stop` and `greeting` as of `ChatUser`. Raises `UsageError` for anything else.
    """
    if isinstance(user, ChatModel):
        return ChatUser(user, instructions)
    if isinstance(user, User) and not isinstance(user, type):
        return user
    with in_field("user"):
        if isinstance(user, Mapping):
            return _served_user(read_served(user, (*_CHAT, *_SAMPLING, *_USER)), instructions)
        found = split_served(user) if isinstance(user, str) else None
        if found is not None and found[0] == "chat":
            return _served_user(found[1], instructions)
    raise UsageError(f"user: {brief(user)}; expected {_EXPECTED}")


def _served_user(served: Served, instructions: str | Callable[[Task], str]) -> User:
    said = served.settings
    chat: dict[str, Any] = {"seeded": True, "seconds": _SECONDS}
    chat |= {name: said[name] for name in _CHAT if name in said}
    sampling = Sampling(**{name: said[name] for name in _SAMPLING if name in said})
    # A run goes on without an episode whose user was not reached; what is lost can be played again.
    model = OpenAIChat(served.url, served.model, grace=math.inf, **chat)
    own = {name: said[name] for name in _USER if name in said}
    return ChatUser(model, instructions, sampling=sampling, **own)


class ScriptedUser:
    """Says its lines in order, one after each answer; when none is left, the episode is decided.

    `lines` are texts, or a function that gives them for a task.
    """

    def __init__(self, lines: Sequence[str] | Callable[[Task], Sequence[str]]) -> None:
        if not callable(lines) and (isinstance(lines, str) or not isinstance(lines, Sequence)):
            raise UsageError(f"lines: {brief(lines)}; expected texts, or a function of a task")
        self.lines = lines

    def reply(self, episode: Episode) -> str | None:
        """Return the next line, or None."""
        lines = self.lines(episode.task) if callable(self.lines) else self.lines
        number = sum(message["role"] == "assistant" for message in episode.said) - 1
        return lines[number] if number < len(lines) else None


class ChatUser:
    """A chat model that plays the user, by `instructions`: a text, or a function of the task.

    It sees the conversation with the roles turned, behind `greeting` if it spoke first, and ends it
    by writing the `stop` word, for which the instructions have to ask. Whatever else stands beside
    the word is not said. An answer that is empty, cut off, or a call is asked for again, `attempts`
    times in all; then the episode is lost as by any infrastructure that failed.

    Each of its words is at the policy's mercy, and the other way around: neither can write a
    control token of the other's.
    """

    def __init__(
        self,
        model: ChatModel,
        instructions: str | Callable[[Task], str],
        *,
        stop: str = "###STOP###",
        greeting: str = _GREETING,
        attempts: int = 3,
        max_tokens: int = 2048,
        sampling: Sampling | None = None,
    ) -> None:
        if not isinstance(model, ChatModel):
            raise UsageError(f"model: {brief(model)}; expected a ChatModel, such as OpenAIChat")
        if not callable(instructions) and not isinstance(instructions, str):
            raise UsageError(f"instructions: {brief(instructions)}; expected a text or a function")
        for name, text in (("stop", stop), ("greeting", greeting)):
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"{name}: {brief(text)}; expected a text, not blank")
        check_whole("attempts", attempts)
        check_whole("max_tokens", max_tokens)
        self.model, self.instructions = model, instructions
        self.stop, self.greeting = stop, greeting
        self.attempts, self.max_tokens = attempts, max_tokens
        self.sampling = sampling or Sampling()

    async def reply(self, episode: Episode) -> str | None:
        """Return what the user says next; None if it wrote the stop word.

        Raises `InfrastructureError` if the model does not answer, or not sensibly.
        """
        messages = self.messages(episode)
        given = ""
        for attempt in range(self.attempts):
            seed = hash((episode.seed, len(messages), attempt)) & 0x7FFF_FFFF
            try:
                reply = await self.model.reply(
                    messages, (), max_tokens=self.max_tokens, sampling=self.sampling, seed=seed
                )
            except (InfrastructureError, ServersGone) as error:
                # The servers without which a run ends are the policy's, and so are the
                # conversations that a server may turn down; this one is ours.
                raise InfrastructureError(f"user: {error}") from None
            said = _said(reply)
            if said is not None and self.stop in said:
                return None
            if said is not None:
                return said
            given = brief(reply.content) + (" (cut off)" if reply.finish_reason == "length" else "")
        raise InfrastructureError(
            f"user: {self.model!r} gave no answer in {self.attempts} attempts; the last: {given}"
        )

    def messages(self, episode: Episode) -> list[Message]:
        """Return the conversation as the user's model sees it."""
        made = self.instructions
        told = made(episode.task) if callable(made) else made
        spoken = [*episode.task.conversation(), *episode.said]
        turned = [
            {"role": _TURNED[message["role"]], "content": _shown(message["content"])}
            for message in spoken
            if message["role"] in _TURNED and not message.get("tool_calls")
        ]
        if turned and turned[0]["role"] == "assistant":
            turned.insert(0, {"role": "user", "content": self.greeting})
        return [{"role": "system", "content": told}, *turned]


def _said(reply: ChatReply) -> str | None:
    """Return the words of a reply without its thinking, None if there are none to be said."""
    if reply.requests or reply.finish_reason == "length":
        return None
    text = reply.content.rpartition(END_THINK)[2]
    return text.strip() or None if THINK not in text else None


def _shown(content: object) -> str:
    return sendable_text(without_control(str(content or "")), NO_TEXT)
