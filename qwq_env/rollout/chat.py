"""Episodes over a chat interface, for evaluation of models that give no token ids.

A `ChatModel` gets messages and tool schemas and returns a `ChatReply`; `ChatPlayer` drives an
`Episode` with it. The trajectory has messages in place of token ids: it can be graded, read and
compared, but not trained on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from qwq_env.chat_model import ChatModel, ChatReply, Unwanted
from qwq_env.dialect.base import Messages, Schemas, text_of
from qwq_env.episode import Episode, Step
from qwq_env.messages import spelled_out
from qwq_env.outcome import Outcome
from qwq_env.rollout.chat_budget import ChatBudget
from qwq_env.rollout.chat_messages import Transcript, text_stops, with_instructions
from qwq_env.rollout.deadline import until_deadline
from qwq_env.rollout.journaled import replied
from qwq_env.rollout.play import PlaySettings, trajectory_of
from qwq_env.trajectory import Trajectory
from qwq_env.turn import Turn


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
        self.model_seconds = 0.0
        self._model, self._settings, self._deadline = model, settings, deadline
        dialect = episode.settings.dialect
        schemas = [tool.schema() for tool in episode.tools]
        self._tools: Schemas = schemas if model.native_tools else ()
        self._textual: Schemas = () if model.native_tools else schemas
        self._stop = text_stops(dialect) if self._textual else ()
        self._transcript = Transcript((), dialect, settings.thinking)
        self._names = frozenset(tool.name for tool in episode.settings.tools)
        self._budget = ChatBudget(episode, settings, "")

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The conversation so far, thinking included."""
        return self._transcript.kept

    async def play(self) -> Trajectory:
        """Play to the end. Raises `InfrastructureError`; the episode is closed in any case."""
        try:
            await self.episode.start()
            self._open()
            step = await self._played()
        finally:
            await self.episode.aclose()
        trajectory = trajectory_of(self.episode, step, self.name, self.seed, self.model_seconds)
        trajectory.messages.extend(dict(message) for message in self.messages)
        return trajectory

    def _open(self) -> None:
        dialect = self.episode.settings.dialect
        prompt = text_of(self.episode.open())
        messages = with_instructions(self.episode.conversation(), self._textual, dialect)
        self._transcript = Transcript(messages, dialect, self._settings.thinking, self._names)
        self._budget = ChatBudget(self.episode, self._settings, prompt)

    async def _played(self) -> Step:
        try:
            return await until_deadline(self.episode, self._deadline, self._turn)
        except Unwanted as error:
            return await self.episode.lose("refused", str(error))

    async def _turn(self) -> Step:
        if (budget := self._budget.left()) < 1:
            return await self.episode.truncate("tokens", "the conversation fills the context")
        reply = await self._reply(budget)
        turn = self._transcript.add_reply(reply)
        self._budget.sample(reply)
        step = await self.episode.step(turn, cut=reply.finish_reason == "length")
        if step.outcome is None and step.messages:
            self._hear(step.messages)
        elif step.outcome is None:
            self._budget.observe(self._transcript.add_results(reply, step.results), "tool")
        return _noted(step, turn)

    def _hear(self, messages: Messages) -> None:
        """Add what a user said; a server that is told of tools is told of those that it offers."""
        written = [*map(spelled_out, messages)]
        if not self._model.native_tools:
            self._budget.observe(self._transcript.add_messages(written), "user")
            return
        self._tools = [*self._tools, *(each for m in messages for each in m.get("tools", ()))]
        self._transcript.add_messages([{n: m[n] for n in ("role", "content")} for m in messages])
        self._budget.observe("\n".join(message["content"] for message in written), "user")

    async def _reply(self, max_tokens: int) -> ChatReply:
        settings: dict[str, Any] = {
            "max_tokens": max_tokens,
            "sampling": self._settings.sampling,
            "seed": self.seed * 1_000_003 + len(self.episode.turns),
            "stop": self._stop,
        }
        journal, messages, tools = self.episode.journal, self._transcript.sent, self._tools
        start = time.perf_counter()
        try:
            if journal is None:
                return await self._model.reply(messages, tools, **settings)
            turn = len(self.episode.turns)
            return await replied(journal, self._model, turn, messages, tools, **settings)
        finally:
            self.model_seconds += time.perf_counter() - start


def _noted(step: Step, turn: Turn) -> Step:
    """Return a step whose outcome says that there was no answer, if that was what was graded.

    Some servers (vLLM with an ill-chosen reasoning parser) put the whole reply into the thinking;
    without a word it would look like a policy that does not answer.
    """
    if step.outcome is None or step.outcome.kind != "terminated":
        return step
    if turn.requests or turn.answer.strip():
        return step
    what = "thinking alone, and no answer after it" if turn.thinking else "empty"
    return step._replace(outcome=Outcome.answered(f"the last reply was {what}"))
