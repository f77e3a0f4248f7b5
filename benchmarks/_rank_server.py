"""A server that speaks vLLM's protocol and writes planned episodes; prints its port.

    python benchmarks/_rank_server.py

It knows an episode only by the token ids it is sent. Now and then it is overloaded (503), and an
episode that its plan refuses gets a 400. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from _episodes import byte_tokenizer
from _rank_script import Plan, read_plan
from _serve import serve
from aiohttp import web

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec

_OVERLOADED = 0.02
_CONTEXT = 100_000


class Server:
    """Answers completions, TRL's form (many prompts, n of each) included."""

    def __init__(self) -> None:
        self._codec = TokenCodec(byte_tokenizer())
        self._random = random.Random(0)

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=2**28)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/server_info", self._info)
        app.router.add_post("/v1/completions", self._complete)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "policy", "max_model_len": _CONTEXT}]})

    async def _info(self, request: web.Request) -> web.Response:
        config = {"model_config": {"logprobs_mode": "processed_logprobs"}}
        return web.json_response({"vllm_config": config})

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompts = body["prompt"]
        if isinstance(prompts[0], int):
            if self._random.random() < _OVERLOADED:
                return web.json_response({"error": {"message": "overloaded"}}, status=503)
            prompts = [prompts]
        contexts = [self._codec.decode(ids) for ids in prompts]
        plans = [read_plan(context) for context in contexts]
        if any(plan.refused for plan in plans):
            return web.json_response({"error": {"message": "refused"}}, status=400)
        await asyncio.sleep(max(plan.delay for plan in plans) / 1000)
        turns = [context.count("</tool_response>") for context in contexts]
        choices = [
            self._choice(ids, plan, turn, body.get("seed", 0))
            for ids, plan, turn in zip(prompts, plans, turns, strict=True)
            for _ in range(body.get("n", 1))
        ]
        return web.json_response({"choices": choices})

    def _choice(self, prompt: list[int], plan: Plan, turn: int, seed: int) -> dict[str, Any]:
        ids = self._codec.encode_pieces([Piece(plan.turn(turn, seed), control=True)])
        names = [f"token_id:{i}" for i in ids]
        values = [plan.logprob] * len(ids)
        return {
            "prompt_token_ids": prompt,
            "token_ids": ids,
            "finish_reason": "stop",
            "logprobs": {
                "tokens": names,
                "token_logprobs": values,
                "top_logprobs": [
                    {name: value} for name, value in zip(names, values, strict=True)
                ],
            },
        }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(serve(Server().application()))
