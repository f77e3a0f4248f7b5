"""Episodes on a real vLLM server: ids and log-probabilities are those that were sampled."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
import urllib.request

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import InfrastructureError
from qwq_env.rollout.audit import audit
from qwq_env.rollout.engine import Assignment, Engine
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.policy import Generation, GenerationRequest
from qwq_env.rollout.vllm_policy import VllmPolicy

from .conftest import CONTEXT, math_environment

PROMPT = tuple(range(40, 60))


@pytest.fixture(scope="module")
def model(policy_checkpoint):
    return AutoModelForCausalLM.from_pretrained(policy_checkpoint, dtype=torch.float32)


@pytest.fixture(scope="module")
def codec(policy_checkpoint) -> TokenCodec:
    return TokenCodec(AutoTokenizer.from_pretrained(policy_checkpoint))


def sample(served, **arguments) -> Generation:
    wanted = {"ids": PROMPT, "max_tokens": 24, "episode": "e", "sampling": Sampling(2.0)}
    wanted |= {"stop_ids": frozenset(), "seed": 3, **arguments}

    async def turn() -> Generation:
        policy = VllmPolicy(served.url, seeded=True)
        try:
            return await policy.generate(GenerationRequest(**wanted))
        finally:
            await policy.aclose()

    return asyncio.run(turn())


def play(served, codec, sampling: Sampling, count: int = 32):
    env = math_environment()
    policy = VllmPolicy(served.url)
    settings = PlaySettings(sampling, context=CONTEXT, completion=200, turn_tokens=160)
    assignments = [Assignment(env.tasks.task(i), f"e{i}", i) for i in range(count)]

    async def episodes():
        try:
            return await Engine(env, policy, codec, play=settings).run(assignments)
        finally:
            await policy.aclose()

    return asyncio.run(episodes())


def fresh_logprobs(model, trajectory, temperature: float) -> list[float]:
    """Return what a forward pass over the very same ids says of the tokens that were sampled."""
    ids = torch.tensor([trajectory.ids])
    with torch.no_grad():
        logits = model(ids).logits[0, trajectory.prompt_length - 1 : -1] / temperature
    every = torch.log_softmax(logits, -1).gather(1, ids[0, trajectory.prompt_length :, None])
    return [v for v, bit in zip(every[:, 0].tolist(), trajectory.mask, strict=True) if bit]


def sampled_logprobs(trajectory) -> list[float]:
    return [v for v, bit in zip(trajectory.logprobs, trajectory.mask, strict=True) if bit]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_a_forward_pass(served, codec, model, temperature):
    trajectories = play(served, codec, Sampling(temperature))

    differences = [
        abs(ours - theirs)
        for trajectory in trajectories
        for ours, theirs in zip(
            sampled_logprobs(trajectory),
            fresh_logprobs(model, trajectory, temperature),
            strict=True,
        )
    ]
    assert len(differences) > 500
    assert statistics.fmean(differences) < 1e-3
    assert max(differences) < 1e-2


def test_episodes_call_their_tools(served, codec):
    trajectories = play(served, codec, Sampling())

    assert not [t.outcome for t in trajectories if t.outcome.failed]
    assert [problem for t in trajectories for problem in audit(t)] == []
    assert sum(t.counts.get("ok", 0) for t in trajectories) > 0
    assert len({tuple(t.completion_ids) for t in trajectories}) > 1


def test_stop_token_is_kept_and_is_the_last(served):
    free = sample(served)
    stop = free.ids[10]
    stopped = sample(served, stop_ids=frozenset({stop}))

    end = free.ids.index(stop) + 1
    assert free.finish_reason == "length"
    assert len(free.ids) == 24
    assert stopped.ids == free.ids[:end]
    assert stopped.finish_reason == "stop"
    assert stopped.logprobs == pytest.approx(free.logprobs[:end], abs=1e-4)


def test_end_of_text_is_kept_too(served, codec, policy_checkpoint):
    env = math_environment()
    prompt = codec.encode_pieces(env.begin(env.tasks.task(0), seed=0).open())
    end = codec.eos_token_id
    generation = sample(
        served, ids=prompt, max_tokens=300, stop_ids=frozenset({end}), sampling=Sampling(0.0)
    )

    assert generation.finish_reason == "stop"
    assert generation.ids[-1] == end
    assert generation.ids.count(end) == 1


def test_ids_are_kept_up_to_the_one_that_completes_a_stop_string(served, codec):
    free = sample(served)
    lengths = (n for n in range(4, 24) if "\ufffd" not in codec.decode(free.ids[n - 2 : n]))
    length = next(lengths)
    string = codec.decode(free.ids[length - 2 : length])
    stopped = sample(served, stop_strings=(string,))

    assert stopped.finish_reason == "stop"
    assert stopped.ids == free.ids[: len(stopped.ids)]
    assert string in codec.decode(stopped.ids)
    assert string not in codec.decode(stopped.ids[:-1])
    assert len(stopped.logprobs) == len(stopped.ids)


def test_seed_repeats_a_draw(served):
    assert sample(served, seed=1).ids == sample(served, seed=1).ids
    assert sample(served, seed=1).ids != sample(served, seed=2).ids


def test_context_bounds_the_turn(served):
    generation = sample(served, ids=[1] * (CONTEXT - 5), max_tokens=50)

    assert len(generation.ids) == 5
    assert sample(served, ids=[1] * CONTEXT) == Generation([], [], "length")


def test_ids_outside_the_vocabulary_are_refused_in_the_servers_words(served):
    with pytest.raises(InfrastructureError, match=r"400: .*out of vocabulary"):
        sample(served, ids=[10**6])


def test_cancelled_turn_leaves_the_server(served):
    async def begin_and_cancel() -> None:
        policy = VllmPolicy(served.url)
        request = GenerationRequest([1], CONTEXT, "e", Sampling(), frozenset())
        turn = asyncio.create_task(policy.generate(request))
        while not await asyncio.to_thread(running, served):
            assert not turn.done()
            await asyncio.sleep(0.02)
        turn.cancel()
        await asyncio.wait([turn])
        await policy.aclose()

    asyncio.run(begin_and_cancel())
    deadline = time.monotonic() + 20
    while running(served) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert running(served) == 0


def running(served) -> float:
    """Return how many requests the server is busy with."""
    with urllib.request.urlopen(f"{served.url}/metrics") as answer:
        text = answer.read().decode()
    [value] = re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", text, re.MULTILINE)
    return float(value)
