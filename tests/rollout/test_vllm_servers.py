"""Several servers behind one policy, and one policy on several event loops."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from qwq_env.chat_model import Sampling
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.audit import RecordingPolicy
from qwq_env.rollout.policy import GenerationRequest
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy

from .vllm_stub import StubServer, completion, error

QUICK = HttpSettings(attempts=2, backoff=0.001)


def request(episode: str) -> GenerationRequest:
    return GenerationRequest([1, 2, 3], 10, episode, Sampling(), frozenset({2}))


async def failing(body):
    return error(500, "the engine is dead")


async def test_episode_keeps_to_its_server():
    async with StubServer() as one, StubServer() as two:
        policy = VllmPolicy([one.url, two.url])
        for _ in range(3):
            for episode in ("a", "b"):
                await policy.generate(request(episode))
        # Who is on which server shows in the counts: three turns of one episode on each.
        one.bodies.clear()
        await policy.generate(request("a"))
        await policy.generate(request("a"))
        await policy.aclose()

        assert len(one.bodies) in (0, 2)
        assert len(two.bodies) == 3 + 2 - len(one.bodies)


async def test_episodes_are_spread_over_the_servers():
    async with StubServer() as one, StubServer() as two:
        policy = VllmPolicy([one.url, two.url])
        await asyncio.gather(*(policy.generate(request(str(i))) for i in range(10)))
        await policy.aclose()

        assert len(one.bodies) == len(two.bodies) == 5


@pytest.mark.parametrize(("ranks", "episodes", "servers"), [(16, 4, 8), (8, 6, 4), (4, 1, 4)])
async def test_ranks_spread_their_episodes_over_all_servers(ranks, episodes, servers):
    """Each knows only its own; together they are even."""
    async with AsyncExitStack() as stack:
        stubs = [await stack.enter_async_context(StubServer()) for _ in range(servers)]
        for rank in range(ranks):
            policy = VllmPolicy([stub.url for stub in stubs])
            policy.place(rank, ranks)
            for episode in range(episodes):
                await policy.generate(request(str(episode)))
            await policy.aclose()

        assert [len(stub.bodies) for stub in stubs] == [ranks * episodes // servers] * servers


async def test_a_new_episode_goes_where_the_fewest_are():
    async with StubServer() as one, StubServer() as two:
        policy = VllmPolicy([one.url, two.url])
        for episode in "abcd":
            await policy.generate(request(episode))
        for episode in "bd":
            await policy.release(episode)
        await policy.release("unknown")
        for episode in "ef":
            await policy.generate(request(episode))
        await policy.aclose()

        assert (len(one.bodies), len(two.bodies)) == (2, 4)


async def test_an_episode_keeps_to_its_engine_of_a_server():
    async with StubServer() as one, StubServer() as two:
        policy = VllmPolicy([one.url, two.url], engines=2)
        for _ in range(2):
            for episode in "abcd":
                await policy.generate(request(episode))
        await policy.aclose()

        for stub in (one, two):
            asked = [headers["X-data-parallel-rank"] for headers in stub.headers]
            assert asked == ["0", "1", "0", "1"]


async def test_a_server_of_one_engine_is_told_of_none():
    async with StubServer() as server:
        policy = VllmPolicy(server.url)
        await policy.generate(request("a"))
        await policy.aclose()

        assert "X-data-parallel-rank" not in server.headers[0]


async def test_failing_server_is_passed_over():
    async with StubServer(failing) as dead, StubServer() as well:
        policy = VllmPolicy([dead.url, well.url], settings=QUICK)
        for i in range(10):
            assert (await policy.generate(request(str(i)))).ids == [7, 8]
        await policy.aclose()

        # Asked once, and then left alone for a while.
        assert len(dead.bodies) == 1
        assert len(well.bodies) == 10


async def test_server_that_is_gone_from_the_start_is_passed_over():
    async with StubServer() as gone:
        pass
    async with StubServer() as well:
        policy = VllmPolicy([gone.url, well.url], settings=QUICK)
        generations = await asyncio.gather(*(policy.generate(request(str(i))) for i in range(8)))
        await policy.aclose()

        assert all(g.ids == [7, 8] for g in generations)


async def test_episode_stays_where_it_fled_to():
    async def once(body):
        return error(503, "busy") if len(one.bodies) == 1 else web.json_response(completion([1]))

    async with StubServer(once) as one, StubServer() as two:
        policy = VllmPolicy([one.url, two.url], settings=QUICK)
        answers = [(await policy.generate(request("a"))).ids for _ in range(3)]
        await policy.aclose()

        assert answers == [[7, 8]] * 3


async def test_all_servers_failing_is_told_with_the_last_words():
    async with StubServer(failing) as one, StubServer(failing) as two:
        policy = VllmPolicy([one.url, two.url], settings=QUICK)
        with pytest.raises(InfrastructureError, match=r"2 attempts; .*the engine is dead"):
            await policy.generate(request("a"))
        await policy.aclose()

        assert Counter(len(s.bodies) for s in (one, two)) == {2: 2}


async def test_shortest_context_is_the_policys():
    async with StubServer(context=50) as one, StubServer(context=40) as two:
        policy = VllmPolicy([one.url, two.url])

        assert await policy.context() == 40
        await policy.aclose()


def test_event_loops_one_after_the_other(stub_in_a_thread):
    policy = VllmPolicy(stub_in_a_thread)

    async def two_turns(name: str) -> list[list[int]]:
        found = await asyncio.gather(*(policy.generate(request(f"{name}{i}")) for i in range(2)))
        await policy.aclose()
        return [generation.ids for generation in found]

    for name in "abc":
        assert asyncio.run(two_turns(name)) == [[7, 8], [7, 8]]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_that_ended_without_closing_leaves_the_policy_usable(stub_in_a_thread):
    policy = VllmPolicy(stub_in_a_thread)

    async def closing() -> list[int]:
        ids = (await policy.generate(request("b"))).ids
        await policy.aclose()
        return ids

    asyncio.run(policy.generate(request("a")))

    assert asyncio.run(closing()) == [7, 8]
    assert policy._of_loop == {}


@pytest.fixture
def stub_in_a_thread():
    """A stub on a loop of its own, so that the test's loops can come and go."""
    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = StubServer()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    yield server.url
    asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_server_without_the_newest_weights_is_not_asked_until_it_has_them():
    async with StubServer(context=10) as behind, StubServer() as well:
        policy = RecordingPolicy(VllmPolicy([behind.url, well.url]))
        policy.weights_pushed(3, [well.url])
        await asyncio.gather(*(policy.generate(request(str(i))) for i in range(4)))
        assert (len(behind.bodies), len(well.bodies)) == (0, 4)
        assert (policy.weight_version, await policy.policy.context()) == (3, 100)

        policy.weights_pushed(4, [behind.url, well.url])
        await asyncio.gather(*(policy.generate(request(f"later {i}")) for i in range(4)))
        await policy.aclose()

        assert policy.weight_version == 4
        assert behind.bodies


async def test_gateway_before_the_servers_is_asked_whichever_of_them_were_reached():
    async with StubServer() as gateway:
        policy = VllmPolicy(gateway.url)
        policy.weights_pushed(1, ["http://behind:1"])
        assert (await policy.generate(request("a"))).ids == [7, 8]
        await policy.aclose()


BASE = {"id": "base", "max_model_len": 50}
ADAPTER = {"id": "adapter", "max_model_len": None, "parent": "base"}


@pytest.mark.parametrize(
    ("named", "listed"),
    [
        ({"adapter": "adapter"}, [BASE, ADAPTER]),
        ({"adapter": "adapter"}, [BASE]),
        ({"model": "adapter"}, [BASE, ADAPTER]),
        ({"adapter": "adapter", "model": "base"}, [BASE]),
    ],
)
async def test_adapter_is_asked_for_and_has_the_context_of_its_base(named, listed):
    async with StubServer() as server:
        server.models = listed
        policy = VllmPolicy(server.url, **named)
        assert await policy.context() == 50
        await policy.generate(request("a"))
        await policy.aclose()

        assert [body["model"] for body in server.bodies] == ["adapter"]


async def test_server_that_lost_its_adapter_is_passed_over():
    async def unknown(body):
        return error(404, "The model `adapter` does not exist.")

    async with StubServer(unknown) as anew, StubServer() as well:
        policy = VllmPolicy([anew.url, well.url], adapter="adapter", settings=QUICK)
        for i in range(4):
            assert (await policy.generate(request(str(i)))).ids == [7, 8]
        await policy.aclose()


async def test_adapter_of_the_base_models_name_is_refused():
    async with StubServer() as server:
        policy = VllmPolicy(server.url, adapter="policy")
        with pytest.raises(UsageError, match="'policy' is the base model"):
            await policy.generate(request("a"))
        await policy.aclose()
