"""Evaluation over the chat interface of a real vLLM server."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.chat_model import Sampling
from qwq_env.errors import UsageError
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings

from .conftest import CONTEXT, math_environment


def play(served, count=8, model="policy", native_tools=False, **settings):
    env = math_environment()
    chat = OpenAIChat(f"{served.url}/v1", model, native_tools=native_tools)
    play = PlaySettings(Sampling(0.7, top_k=20), **settings)
    assignments = [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(count)]

    async def episodes():
        try:
            return await Engine(env, chat, play=play).run(assignments)
        finally:
            await chat.aclose()

    return asyncio.run(episodes())


@pytest.mark.parametrize("thinking", ["keep", "strip"])
def test_episodes_with_tools_in_the_text(served, thinking):
    trajectories = play(served, thinking=thinking, context=CONTEXT)

    assert not any(t.outcome.failed for t in trajectories), [t.outcome for t in trajectories]
    assert any(t.tool_calls for t in trajectories)
    assert "<tools>" in trajectories[0].messages[0]["content"]


def test_more_than_the_server_can_give_is_cut_down_to_it(served):
    # 32,768 tokens a turn are asked of a server with a context of 1,024.
    trajectories = play(served)

    assert all(t.outcome.kind in ("terminated", "truncated") for t in trajectories)
    assert all(t.turns for t in trajectories)


def test_task_longer_than_the_context_is_out_of_tokens(served):
    chat = OpenAIChat(f"{served.url}/v1", "policy")

    async def ask():
        try:
            long = [{"role": "user", "content": "many words " * 2000}]
            return await chat.reply(long, (), max_tokens=10, sampling=Sampling(), seed=0)
        finally:
            await chat.aclose()

    reply = asyncio.run(ask())

    assert (reply.finish_reason, reply.content, reply.tokens) == ("length", "", 0)


def test_model_that_is_not_served_ends_the_run(served):
    with pytest.raises(UsageError) as caught:
        play(served, model="other", count=1)

    assert "other" in repr(caught.value)
    assert "404" in repr(caught.value)


def test_server_that_was_not_started_for_tools_ends_the_run(served):
    with pytest.raises(UsageError) as caught:
        play(served, native_tools=True, count=1)

    assert "native_tools=False" in repr(caught.value)
