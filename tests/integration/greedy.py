"""Greedy tokens of a server and of a model, which are equal if their weights are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import torch
from accelerate import Accelerator

from qwq_env.chat_model import Sampling
from qwq_env.rollout.policy import GenerationRequest

PROMPTS = [list(range(n, n + 30)) for n in range(20, 60, 5)]


def trainer_of(model, step: int = 0) -> SimpleNamespace:
    """Return as much of a trainer as a push of weights looks at."""
    state = SimpleNamespace(global_step=step)
    return SimpleNamespace(
        accelerator=Accelerator(cpu=True), model=model, model_wrapped=model, state=state
    )


def greedy_of_server(policy) -> list[list[int]]:
    """Return what a policy that asks a server continues the prompts with."""

    async def turns():
        requests = (
            GenerationRequest(ids, 16, str(number), Sampling(0.0), frozenset())
            for number, ids in enumerate(PROMPTS)
        )
        found = await asyncio.gather(*map(policy.generate, requests))
        await policy.aclose()
        return [generation.ids for generation in found]

    return asyncio.run(turns())


def greedy_of_model(model) -> list[list[int]]:
    """Return what plain forward passes continue them with."""
    prompts = torch.tensor(PROMPTS)
    for _ in range(16):
        with torch.no_grad():
            following = model(prompts).logits[:, -1].argmax(-1, keepdim=True)
        prompts = torch.cat([prompts, following], 1)
    return prompts[:, len(PROMPTS[0]) :].tolist()
