"""A server that speaks vLLM's protocol and answers at once; prints its port.

    python benchmarks/_instant_vllm.py TURNS

It calls the tool `nap` in so many turns of an episode, and then is done. Ends when its standard
input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from _episodes import byte_tokenizer
from _serve import serve
from _tool_naps import CALL, DONE
from aiohttp import web

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.policy import Generation

CONTEXT = 100_000

Handler = Callable[[web.Request], Awaitable[web.Response]]


def application(turns: int) -> web.Application:
    """Return the routes."""
    tokenizer = byte_tokenizer()
    codec = TokenCodec(tokenizer)
    call, done, close = (
        codec.encode_pieces([Piece(text, control=True)]) for text in (CALL, DONE, "</think>")
    )
    opened, answered = tokenizer.convert_tokens_to_ids(["<think>", "</tool_response>"])

    async def complete(request: web.Request) -> web.Response:
        prompt = (await request.json())["prompt"]
        ids = call if prompt.count(answered) < turns else done
        # Our prompt opens the thinking, TRL's does not.
        ids = close + ids if opened in prompt[-4:] else ids
        return web.json_response(completion(prompt, Generation(ids, [-0.5] * len(ids), "stop")))

    return routes(complete, CONTEXT)


def routes(complete: Handler, context: int) -> web.Application:
    """Return what a server has beside the route that completes."""

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "policy", "max_model_len": context}]})

    async def info(request: web.Request) -> web.Response:
        config = {"model_config": {"logprobs_mode": "processed_logprobs"}}
        return web.json_response({"vllm_config": config})

    async def health(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(client_max_size=2**28)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/server_info", info)
    app.router.add_post("/v1/completions", complete)
    return app


def completion(prompt: list[int], sampled: Generation) -> dict[str, Any]:
    """Return what vLLM answers of a turn."""
    names, values = [f"token_id:{i}" for i in sampled.ids], sampled.logprobs
    tops = [{name: value} for name, value in zip(names, values, strict=True)]
    logprobs = {"tokens": names, "token_logprobs": values, "top_logprobs": tops}
    choice = {
        "prompt_token_ids": prompt, "token_ids": sampled.ids, "logprobs": logprobs,
        "finish_reason": sampled.finish_reason,
    }  # fmt: skip
    return {"choices": [choice]}


if __name__ == "__main__":
    asyncio.run(serve(application(int(sys.argv[1]))))
