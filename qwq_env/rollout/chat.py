"""Episodes over a chat interface, for evaluation of models that give no token ids.

A `ChatModel` gets messages and tool schemas and returns a `ChatReply`; `ChatPlayer` drives an
`Episode` with it. The trajectory has messages in place of token ids: it can be graded, read and
compared, but not trained on.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from qwq_env.dialect.base import Messages, Schemas
from qwq_env.episode import Episode, Step
from qwq_env.rollout.play import PlaySettings, nearest_deadline, trajectory_of
from qwq_env.rollout.policy import Sampling
from qwq_env.trajectory import Trajectory
from qwq_env.turn import CallResult, MalformedCall, ToolCall, Turn


class ChatReply(NamedTuple):
    """A reply: its thinking and its content as texts, and the calls it made natively.

    `native` holds the wire form of those calls, to be sent back with their ids. `tokens` is what
    the server counted, thinking included, None if it did not say.
    """

    thinking: str
    content: str
    requests: tuple[ToolCall | MalformedCall, ...] = ()
    native: tuple[Mapping[str, Any], ...] = ()
    finish_reason: Literal["stop", "length"] = "stop"
    tokens: int | None = None


class ChatModel(ABC):
    """Something that answers messages. Safe for many concurrent calls."""

    @abstractmethod
    async def reply(
        self, messages: Messages, tools: Schemas, *, max_tokens: int, sampling: Sampling, seed: int
    ) -> ChatReply:
        """Return one reply. Raises `InfrastructureError` when the machinery failed."""

    async def aclose(self) -> None:
        """Free everything."""
        return None


class ChatPlayer:
    """The message side of one episode in progress."""

    def __init__(
        self,
        episode: Episode,
        name: str,
        seed: int,
        model: ChatModel,
        settings: PlaySettings,
        deadline: float = math.inf,
    ) -> None:
        self.episode, self.name, self.seed = episode, name, seed
        self.messages: list[Mapping[str, Any]] = []
        self.model_seconds = 0.0
        self._model, self._settings, self._deadline = model, settings, deadline
        self._tools = [tool.schema() for tool in episode.settings.tools]

    async def play(self) -> Trajectory:
        """Play to the end. Raises `InfrastructureError`; the episode is closed in any case."""
        limit, seconds = nearest_deadline(self.episode, self._deadline)
        try:
            self.episode.open()
            self.messages = list(self.episode.conversation())
            async with asyncio.timeout(seconds) as bound:
                while (step := await self._turn()).outcome is None:
                    pass
        except TimeoutError:
            if not bound.expired():
                raise
            step = await self.episode.truncate(limit)
        finally:
            await self.episode.aclose()
        trajectory = trajectory_of(self.episode, step, self.name, self.seed, self.model_seconds)
        trajectory.messages.extend(dict(message) for message in self.messages)
        return trajectory

    async def _turn(self) -> Step:
        left = self.episode.tokens_left()
        budget = (
            self._settings.turn_tokens if left is None else min(left, self._settings.turn_tokens)
        )
        if budget < 1:
            return await self.episode.truncate("tokens")
        start = time.perf_counter()
        try:
            reply = await self._model.reply(
                self.messages,
                self._tools,
                max_tokens=budget,
                sampling=self._settings.sampling,
                seed=self.seed * 1_000_003 + len(self.episode.turns),
            )
        finally:
            self.model_seconds += time.perf_counter() - start
        turn = self._read(reply)
        self.episode.spend(reply.tokens or 0)
        self.messages.append(_assistant_message(reply))
        step = await self.episode.step(turn, cut=reply.finish_reason == "length")
        if step.outcome is None:
            self.messages += _result_messages(reply, step.results)
        return step

    def _read(self, reply: ChatReply) -> Turn:
        """Return the reply as a turn: native calls as they are, textual ones by the dialect."""
        parsed = self.episode.settings.dialect.parse(reply.content)
        thinking = reply.thinking or parsed.thinking
        head = f"<think>\n{reply.thinking}\n</think>\n\n" if reply.thinking else ""
        return Turn(
            head + reply.content,
            thinking,
            parsed.answer,
            reply.requests or parsed.requests,
            len(head) + parsed.thinking_end,
            closed=True,
        )


def _assistant_message(reply: ChatReply) -> dict[str, Any]:
    """Return the message to send back; thinking stays out, as chat servers expect."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.native:
        message["tool_calls"] = [dict(call) for call in reply.native]
    return message


def _result_messages(reply: ChatReply, results: Sequence[CallResult]) -> list[Mapping[str, Any]]:
    if reply.native:
        return [
            {"role": "tool", "tool_call_id": call["id"], "name": result.name,
             "content": result.content}
            for call, result in zip(reply.native, results, strict=True)
        ]  # fmt: skip
    blocks = [f"<tool_response>\n{result.content}\n</tool_response>" for result in results]
    return [{"role": "user", "content": "\n".join(blocks)}]
