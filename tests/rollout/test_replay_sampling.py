"""A model in this process draws on behind an interruption as it would have drawn without."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import torch
import transformers

from qwq_env.env import ToolEnv
from qwq_env.journal import Journal
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.policy import Generation, Policy
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.users import ScriptedUser


class Brief(Policy):
    """Ends each turn of another policy after eight tokens."""

    def __init__(self, policy: Policy, end: int) -> None:
        self.policy, self.end, self.asked = policy, end, 0

    async def generate(self, request):
        self.asked += 1
        drawn = await self.policy.generate(dataclasses.replace(request, max_tokens=8))
        return Generation([*drawn.ids, self.end], [*drawn.logprobs, 0.0], "stop")

    async def release(self, episode):
        await self.policy.release(episode)


class Desk(ToolEnv):
    def reply(self, episode):
        return ScriptedUser(["And?", "Well."]).reply(episode)


@pytest.fixture(scope="module")
def model():
    config = transformers.Qwen2Config(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield transformers.Qwen2ForCausalLM(config).eval()
    torch.set_num_threads(threads)


def test_what_is_drawn_behind_an_interruption_is_what_would_have_been(codec, model, tmp_path):
    tasks = ListTaskSet([Task(f"t{i}", f"Speak of {i}.", "") for i in range(3)])
    env = Desk(tasks, [], Rubric([Component("said", lambda f: 1.0)]), dialect="qwq-direct")
    assignments = [Assignment(tasks.task(i), f"e{i}", i) for i in range(3)]

    def play(path):
        policy = Brief(TransformersPolicy(model, codec), codec.control_ids["<|im_end|>"])
        with Journal(path) as journal:
            engine = Engine(env, policy, codec, journal=journal)
            return asyncio.run(engine.run(assignments)), policy.asked

    whole, asked = play(tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[: len(lines) // 2]))
    resumed, asked_again = play(tmp_path / "cut")

    assert 0 < asked_again < asked
    assert [trajectory.ids for trajectory in resumed] == [trajectory.ids for trajectory in whole]
    for again, before in zip(resumed, whole, strict=True):
        assert again.logprobs == pytest.approx(before.logprobs, abs=1e-4)
