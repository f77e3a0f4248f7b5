"""What a deadline ends in an episode over a chat interface, and what it does not."""

from __future__ import annotations

import asyncio
import time

import pytest

from qwq_env.chat_model import ChatModel, ChatReply
from qwq_env.outcome import EpisodeLimits
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.tool import Tool
from qwq_env.turn import ToolCall

from .chat_server import environment

BOUND = 2.0
CALL = {"id": "c", "type": "function", "function": {"name": "slow", "arguments": "{}"}}


class Replies(ChatModel):
    """Answers at once with the replies given, or never once they are used up."""

    def __init__(self, *replies: ChatReply) -> None:
        self.replies = list(replies)

    async def reply(self, messages, tools, *, max_tokens, sampling, seed, stop=()):
        if not self.replies:
            await asyncio.Event().wait()
        return self.replies.pop(0)


class Slow(Tool):
    """Takes its time in a call, or in closing."""

    name, description = "slow", "Wait."
    parameters = {"type": "object", "properties": {}}  # noqa: RUF012 - the contract of Tool

    def __init__(self, *, closing: bool) -> None:
        self._closing = closing

    def for_episode(self, task, seed):
        return self

    async def call(self, arguments):
        if not self._closing:
            await asyncio.Event().wait()
        return "done"

    async def aclose(self):
        if self._closing:
            await asyncio.sleep(BOUND)


def bounds(kind: str) -> tuple[EpisodeLimits, EngineSettings]:
    if kind == "batch":
        return EpisodeLimits(seconds=None), EngineSettings(batch_seconds=BOUND)
    return EpisodeLimits(seconds=BOUND), EngineSettings()


async def played(env, settings, *replies):
    engine = Engine(env, Replies(*replies), settings=settings)
    [trajectory] = await engine.run([Assignment(env.tasks.task(0), "e", 1)])
    return trajectory


@pytest.mark.parametrize("kind", ["episode", "batch"])
async def test_slow_grading_is_no_limit(kind):
    limits, settings = bounds(kind)
    end = time.perf_counter() + BOUND + 0.2

    async def slowly(final):
        await asyncio.sleep(end - time.perf_counter())
        return 1.0

    env = environment(grade=slowly, limits=limits)
    trajectory = await played(env, settings, ChatReply("", "42"))

    assert (trajectory.outcome.kind, trajectory.reward) == ("terminated", 1.0)


@pytest.mark.parametrize(("kind", "reason"), [("episode", "seconds"), ("batch", "batch_deadline")])
@pytest.mark.parametrize("replies", [(), (ChatReply("", "", (ToolCall("slow", {}),), (CALL,)),)])
async def test_slow_model_and_slow_tool_are_given_up(kind, reason, replies):
    limits, settings = bounds(kind)
    env = environment(Slow(closing=False), limits=limits)
    trajectory = await played(env, settings, *replies)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("failed", reason)
    assert trajectory.reward is None


async def test_outcome_that_stands_is_not_cut_by_the_closing_of_tools():
    env = environment(Slow(closing=True), limits=EpisodeLimits(seconds=None, turns=1))
    reply = ChatReply("", "", (ToolCall("slow", {}),), (CALL,))
    trajectory = await played(env, EngineSettings(batch_seconds=BOUND / 2), reply)

    assert (trajectory.outcome.kind, trajectory.outcome.reason) == ("truncated", "turns")
