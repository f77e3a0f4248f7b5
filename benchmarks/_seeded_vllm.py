"""A server that speaks vLLM's protocol and samples a turn by its seed alone; prints its port.

    python benchmarks/_seeded_vllm.py FOLDER

It has the weights of a folder, and of another once it is told so. Each turn is sampled by itself,
so the same weights, prompt and seed give the same tokens to the last bit; of vLLM that can't be
had, whose batches are what was asked at the time. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys

import torch
from _instant_vllm import completion, routes
from _serve import serve
from aiohttp import web

from qwq_env.chat_model import Sampling
from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.transformers_policy import TransformersPolicy

CONTEXT = 1024


def application(folder: str) -> web.Application:
    """Return the routes."""
    turn, policy = asyncio.Lock(), policy_of(folder)

    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        wanted = GenerationRequest(
            ids=asked["prompt"],
            max_tokens=asked["max_tokens"],
            episode="",
            sampling=Sampling(asked["temperature"], asked["top_p"], asked["top_k"]),
            stop_ids=frozenset(asked["stop_token_ids"]),
            stop_strings=tuple(asked["stop"]),
            seed=asked["seed"],
        )
        async with turn:
            sampled = await policy.generate(wanted)
            await policy.release("")
        return web.json_response(completion(asked["prompt"], sampled))

    async def call(request: web.Request) -> web.Response:
        nonlocal policy
        asked = await request.json()
        async with turn:
            await policy.aclose()
            policy = policy_of(asked["kwargs"]["weights_path"])
        return web.json_response({"results": [None]})

    async def reset(request: web.Request) -> web.Response:
        return web.json_response({"success": True})

    app = routes(complete, CONTEXT)
    app.router.add_post("/collective_rpc", call)
    app.router.add_post("/reset_prefix_cache", reset)
    return app


def policy_of(folder: str) -> TransformersPolicy:
    """Return what samples from the weights of a folder."""
    model, tokenizer = load_checkpoint(folder)
    return TransformersPolicy(model, TokenCodec(tokenizer), slots=1, max_length=CONTEXT)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asyncio.run(serve(application(sys.argv[1])))
