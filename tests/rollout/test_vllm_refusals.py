"""What a vLLM server's refusals mean, for how long it is left alone, and that no key is shown."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, QwqError, ServersGone, UsageError
from qwq_env.rollout.policy import Generation, GenerationRequest
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy

from .vllm_stub import StubServer, completion, error

KEY = "sk-secret-0123456789"
QUICK = HttpSettings(attempts=2, backoff=0.001)
REQUEST = GenerationRequest([1, 2, 3], 10, "e", Sampling(), frozenset({2}))


async def ask(*servers: StubServer, settings=QUICK, **arguments) -> Generation:
    policy = VllmPolicy([server.url for server in servers], settings=settings, **arguments)
    try:
        return await policy.generate(REQUEST)
    finally:
        await policy.aclose()


def answering(response: web.Response):
    async def answer(body):
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    return answer


def busy(seconds: str) -> web.Response:
    return web.Response(status=429, headers={"Retry-After": seconds})


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_error_of_the_operator_is_told_at_once(status):
    async with StubServer(answering(error(status, "not\nthis way"))) as server:
        with pytest.raises(UsageError, match=rf"^vllm: .*{status}: not this way; check .*api_key"):
            await ask(server)

        assert len(server.bodies) == 1


async def test_server_that_does_not_know_our_key_lists_no_models():
    async def refuse(request):
        return error(401, "Unauthorized")

    app = web.Application()
    app.router.add_get("/v1/models", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    policy = VllmPolicy(f"http://127.0.0.1:{port}", settings=QUICK)
    with pytest.raises(UsageError, match="401: Unauthorized"):
        await policy.generate(REQUEST)
    await policy.aclose()
    await runner.cleanup()


async def test_full_context_is_out_of_tokens():
    message = "This model's maximum context length is 4 tokens. However, you requested 13 tokens."
    async with StubServer(answering(error(400, message))) as server:
        assert await ask(server) == Generation([], [], "length")
        assert len(server.bodies) == 1


ECHOES = {
    "an error": error(500, f"key {KEY}"),
    "an error cut in the key": error(500, "x" * 490 + KEY),
    "a refusal": error(400, f"key {KEY}"),
    "a refusal of the key": error(401, f"key {KEY}"),
    "escaped": web.Response(status=400, text=json.dumps(KEY).replace("-", "\\u002d")),
    "a reason": web.json_response(completion([7], KEY)),
    "a logprob": web.json_response(completion([7], logprobs={"token_logprobs": [KEY]})),
}


@pytest.mark.parametrize("response", ECHOES.values(), ids=ECHOES)
async def test_key_that_a_server_echoes_is_not_shown(response):
    async with StubServer(answering(response)) as server:
        with pytest.raises(QwqError) as caught:
            await ask(server, api_key=KEY)

        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "***" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_key_in_a_broken_answer_is_not_shown():
    async def break_off(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {KEY}\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(break_off, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = HttpSettings(attempts=2, backoff=0.001, grace=0.05)
    policy = VllmPolicy(f"http://127.0.0.1:{port}", settings=settings, api_key=KEY)
    with pytest.raises(ServersGone) as caught:
        await policy.generate(REQUEST)
    await policy.aclose()
    server.close()
    await server.wait_closed()

    assert "secret" not in str(caught.value)


async def test_key_among_the_models_and_in_the_log(caplog):
    async with StubServer() as server:
        server.models = [{"id": KEY, "max_model_len": 100}]
        server.logprobs_mode = KEY
        with pytest.raises(UsageError) as caught, caplog.at_level(logging.WARNING):
            await ask(server, api_key=KEY, model="policy")

    assert "***" in str(caught.value) and "***" in caplog.text
    assert "secret" not in str(caught.value) + caplog.text


async def test_busy_server_is_left_alone_for_as_long_as_it_asks():
    settings = HttpSettings(attempts=1000, backoff=0.001)
    async with StubServer(answering(busy("3600"))) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await ask(server, settings=settings)

        assert len(server.bodies) <= 1


async def test_no_longer_than_for_an_answer():
    settings = HttpSettings(attempts=2, backoff=0.001, seconds=1.0)
    async with StubServer(answering(busy("3600"))) as server:
        with pytest.raises(InfrastructureError, match="429"):
            await ask(server, settings=settings)


async def test_others_serve_what_a_busy_one_does_not():
    async def fail_twice(body):
        return error(500, "no") if len(other.bodies) < 3 else web.json_response(completion([7]))

    settings = HttpSettings(attempts=5, backoff=0.001)
    async with StubServer(answering(busy("3600"))) as one, StubServer(fail_twice) as other:
        generation = await ask(one, other, settings=settings)

        assert generation.ids == [7]
        assert (len(one.bodies), len(other.bodies)) == (1, 3)
