"""A run whose servers died ends soon and goes on later; one whose servers only stumble goes on."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from qwq_env.chat_model import Sampling
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, ServersGone
from qwq_env.http import liveness
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task

from .chat_server import ANSWER, Failure, Server, content_of
from .vllm_stub import StubServer, completion, error

QUICK = HttpSettings(attempts=3, backoff=0.001, grace=0.3)
REQUEST = GenerationRequest([1, 2, 3], 10, "e", Sampling(), frozenset({2}))


def environment(count: int) -> ToolEnv:
    """Tasks in a dialect whose prompts open no thinking, so that any text is an answer."""
    tasks = ListTaskSet([Task(f"t{i}", f"Say {i}.", str(i)) for i in range(count)])
    return ToolEnv(tasks, [], Rubric([Component("any", lambda final: 1.0)]), dialect="tags")


def assignments(env: ToolEnv) -> list[Assignment]:
    return [Assignment(task, f"e{i}", i) for i, task in enumerate(env.tasks)]


async def failing(body):
    return error(500, "EngineCore encountered an issue.")


async def test_server_that_is_not_there_is_told_by_name():
    async with StubServer() as server:
        pass
    policy = VllmPolicy(server.url, settings=QUICK)
    with pytest.raises(ServersGone, match=rf"{server.url}: .*Cannot connect"):
        await policy.generate(REQUEST)
    await policy.aclose()


async def test_dead_engine_behind_a_living_port_is_gone():
    async with StubServer(failing) as one, StubServer(failing) as two:
        one.health = two.health = 503
        policy = VllmPolicy([one.url, two.url], settings=QUICK)
        with pytest.raises(ServersGone, match=rf"{one.url}: status 503.*{two.url}: status 503"):
            await policy.generate(REQUEST)
        await policy.aclose()


async def test_engine_that_fails_but_is_well_costs_the_turn_only():
    async with StubServer(failing) as server:
        policy = VllmPolicy(server.url, settings=QUICK)
        with pytest.raises(InfrastructureError, match=r"3 attempts; .*EngineCore encountered"):
            await policy.generate(REQUEST)
        await policy.aclose()


async def test_slow_server_is_waited_for(monkeypatch):
    monkeypatch.setattr(liveness, "_QUIET_SECONDS", 0.0)

    async def slowly(body):
        await asyncio.sleep(3 * QUICK.grace)
        return web.json_response(completion([7]))

    async with StubServer(slowly) as server:
        policy = VllmPolicy(server.url, settings=QUICK)

        assert (await policy.generate(REQUEST)).ids == [7]
        await policy.aclose()


async def test_restart_costs_no_episode(codec):
    env = environment(40)
    server = await started(StubServer(answer))
    settings = HttpSettings(attempts=3, backoff=0.001, grace=5.0)
    policy = VllmPolicy(server.url, settings=settings)
    engine = Engine(env, policy, codec, settings=EngineSettings(concurrency=4))
    playing = asyncio.create_task(engine.run(assignments(env)))
    while len(server.bodies) < 10:
        await asyncio.sleep(0.001)
    await server.__aexit__()
    await asyncio.sleep(0.3)
    await server.__aenter__()
    trajectories = await playing
    await policy.aclose()
    await server.__aexit__()

    assert [t.outcome.reason for t in trajectories] == ["answered"] * 40


async def answer(body):
    await asyncio.sleep(0.01)
    return web.json_response(completion([7, 8]))


async def started(server: StubServer) -> StubServer:
    server.context = 10_000
    server.models = [{"id": "policy", "max_model_len": 10_000}]
    return await server.__aenter__()


async def test_what_was_played_stays_and_only_the_rest_is_played_later(codec, tmp_path):
    env = environment(40)
    server = await started(StubServer(answer))
    policy = VllmPolicy(server.url, settings=QUICK)
    engine = Engine(env, policy, codec, settings=EngineSettings(concurrency=8))
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        playing = asyncio.create_task(engine.run(assignments(env), store.append))
        while len(server.bodies) < 20:
            await asyncio.sleep(0.001)
        await server.__aexit__()
        began = time.perf_counter()
        with pytest.raises(ServersGone):
            await playing
        assert time.perf_counter() - began < QUICK.grace + 30
        played = store.played()
        assert 8 < len(played) < 40

        await server.__aenter__()
        server.bodies.clear()
        trajectories = await engine.run(assignments(env), store.append, played=played)
    await policy.aclose()
    await server.__aexit__()

    assert len(server.bodies) == 40 - len(played)
    assert [t.outcome.reason for t in trajectories] == ["answered"] * 40


async def play_chat(url: str, count: int = 24, **settings):
    env = environment(count)
    chat = OpenAIChat(url, "qwq", grace=QUICK.grace, **settings)
    try:
        return await Engine(env, chat).run(assignments(env))
    finally:
        await chat.aclose()


async def test_chat_server_that_is_not_there_ends_all_episodes_at_once():
    with Server([]) as server:
        pass
    began = time.perf_counter()
    with pytest.raises(ServersGone, match=r"http://127.0.0.1:\d+: ConnectError"):
        await play_chat(server.url)

    assert time.perf_counter() - began < QUICK.grace + 30


async def test_chat_server_that_answers_anything_is_there():
    with Server([503], repeat=True) as server:
        trajectories = await play_chat(server.url, 2, attempts=1)

    assert [t.outcome.reason for t in trajectories] == ["infrastructure"] * 2


class Gateway(Server):
    """Answers every question whether it is there with `status`."""

    def __init__(self, replies, status):
        super().__init__(replies, repeat=True)

        def do_GET(handler):
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.server.RequestHandlerClass.do_GET = do_GET


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_gateway_with_nobody_behind_it_is_none(status):
    told = rf"status {status} on http://127.0.0.1:\d+/v1/models"
    with Gateway([status], status) as server, pytest.raises(ServersGone, match=told):
        await play_chat(server.url)


async def test_busy_server_is_there():
    with Gateway([503], 200) as server:
        trajectories = await play_chat(server.url, 2, attempts=1)

    assert [t.outcome.reason for t in trajectories] == ["infrastructure"] * 2


USELESS = [Failure(200, "<html>log in</html>"), 500, Failure(200, {"base_resp": {"status": 1008}})]


@pytest.mark.parametrize("reply", USELESS)
async def test_server_that_never_answered_anything_ends_the_run(reply):
    with Gateway([reply], 200) as server:
        with pytest.raises(ServersGone, match="no conversation so far was answered: "):
            await play_chat(server.url, attempts=1)

        assert len(server.requests) <= 24


async def test_server_that_answered_once_loses_single_episodes():
    with Server([ANSWER, 500], repeat=True) as server:
        trajectories = await play_chat(server.url, 6, attempts=1, in_flight=1)

    reasons = [t.outcome.reason for t in trajectories]
    assert sorted(reasons) == ["answered", *["infrastructure"] * 5]


async def test_proxy_is_named_when_nobody_is_reached_through_it(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ServersGone, match=r"through the proxy http://127\.0\.0\.1:9 of HTTP_PROXY"):
        await play_chat("http://gpu1.invalid/v1")


async def test_chat_server_that_hangs_up_once_is_asked_again():
    asked = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[0])
        if asked.count(b"POST") > 1:
            body = content_of(ANSWER)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        elif asked[-1] == b"GET":
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        [trajectory] = await play_chat(f"http://127.0.0.1:{port}/v1", 1)

    assert trajectory.outcome.reason == "answered"
    assert asked == [b"POST", b"GET", b"POST"]
