"""A vLLM server made by hand: it answers with what a test scripts, and remembers what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


def completion(ids: list[int], reason: str = "stop", **choice: Any) -> dict[str, Any]:
    """Return vLLM's answer for these ids."""
    logprobs = {"token_logprobs": [-0.5] * len(ids)}
    return {
        "choices": [{"token_ids": ids, "logprobs": logprobs, "finish_reason": reason, **choice}]
    }


def error(status: int, message: str) -> web.Response:
    """Return an error in vLLM's form."""
    body = {"error": {"message": message, "type": "Error", "param": None, "code": status}}
    return web.json_response(body, status=status)


class StubServer:
    """Answers each completion by `answer`, by default with the ids 7, 8. A context manager."""

    def __init__(self, answer: Answer | None = None, *, context: int = 100) -> None:
        self.answer = answer
        self.context = context
        self.logprobs_mode = "processed_logprobs"
        self.settings: dict[str, Any] = {}
        self.health = 200
        self.port = 0
        self.models: Any = [{"id": "policy", "max_model_len": context}]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.cancelled = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.asked_for_models = 0

    async def __aenter__(self) -> StubServer:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/server_info", self._info)
        app.router.add_get("/health", self._tell_health)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._runner.server, "127.0.0.1", self.port)
        # Entered again, it comes back where it was.
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        # asyncio forgets a connection whose server is closed while it is still being accepted,
        # which takes two turns of the loop; it would be found by the collector in a later test.
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(4):
            await asyncio.sleep(0)
        self._server.close()
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        self.asked_for_models += 1
        return web.json_response({"data": self.models})

    async def _info(self, request: web.Request) -> web.Response:
        mode = {"logprobs_mode": self.logprobs_mode}
        return web.json_response({"vllm_config": {"model_config": mode, **self.settings}})

    async def _tell_health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.health)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.answer is None:
                return web.json_response(completion([7, 8]))
            return await self.answer(body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
