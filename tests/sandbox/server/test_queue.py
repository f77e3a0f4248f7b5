"""The queue: bounded, fair between clients, clean after those who leave."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.sandbox.server.fair_queue import FairQueue, QueueFull
from qwq_env.sandbox.server.service import ServiceLimits
from qwq_env.sandbox.wire import CLIENT_HEADER


async def order_of_turns(queue: FairQueue, clients: str) -> str:
    """Let all ask at once while the only slot is held; returns in which order they got it."""
    served = []
    release = asyncio.Event()

    async def hold() -> None:
        async with queue.turn("holder"):
            await release.wait()

    async def ask(client: str) -> None:
        try:
            async with queue.turn(client):
                served.append(client)
        except QueueFull:
            served.append("!")

    tasks = [asyncio.create_task(hold())]
    for client in clients:
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask(client)))
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*tasks)
    return "".join(served)


async def test_waiting_clients_take_turns() -> None:
    assert await order_of_turns(FairQueue(1, 100), "aaaaaabbc") == "abcabaaaa"


async def test_a_full_queue_drops_the_newest_of_the_longest_line() -> None:
    served = await order_of_turns(FairQueue(1, 4), "aaaab")

    assert served == "!abaa"


async def test_a_full_queue_refuses_the_client_with_the_longest_line() -> None:
    assert sorted(await order_of_turns(FairQueue(1, 2), "aaa")) == ["!", "a", "a"]
    assert sorted(await order_of_turns(FairQueue(1, 0), "ab")) == ["!", "!"]


@given(
    slots=st.integers(1, 3),
    capacity=st.integers(0, 4),
    script=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("wc")), max_size=20),
)
def test_whatever_happens_nothing_is_left(
    slots: int, capacity: int, script: list[tuple[str, str]]
) -> None:
    """Callers come, leave at any moment, are refused: in the end all slots are free."""

    async def main() -> FairQueue:
        queue = FairQueue(slots, capacity)
        most = 0

        async def work(client: str) -> None:
            nonlocal most
            async with queue.turn(client):
                most = max(most, queue.running)
                await asyncio.sleep(0)

        tasks: list[asyncio.Task[None]] = []
        for client, action in script:
            tasks.append(asyncio.create_task(work(client)))
            if action == "c":
                await asyncio.sleep(0)
                tasks[len(tasks) // 2].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)

        assert most <= slots
        kinds = (type(None), QueueFull, asyncio.CancelledError)
        assert all(isinstance(outcome, kinds) for outcome in done)
        return queue

    queue = asyncio.run(main())

    assert (queue.running, queue.queued) == (0, 0)
    assert not queue._lines


async def test_a_full_server_says_when_to_come_again(start: Any, sandbox: Any, gate: Any) -> None:
    server = await start(limits=ServiceLimits(slots=1, queue=1))
    code = {"code": gate.code}
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        posts = [asyncio.create_task(http.post("/v1/run", json=code)) for _ in range(5)]
        while sum(post.done() for post in posts) < 3:
            await asyncio.sleep(0.01)
        gate.open()
        responses = await asyncio.gather(*posts)
    refused = [response for response in responses if response.status_code == 429]

    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429, 429]
    assert {response.json()["error"]["code"] for response in refused} == {"full"}
    assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
    assert sandbox.most_running == 1


async def test_a_second_client_does_not_wait_for_the_backlog_of_the_first(
    start: Any, gate: Any
) -> None:
    server = await start(limits=ServiceLimits(slots=1))
    served: list[str] = []

    async def ask(http: httpx.AsyncClient, name: str) -> None:
        headers = {CLIENT_HEADER: name}
        await http.post("/v1/run", json={"code": gate.code}, headers=headers)
        served.append(name)

    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        greedy = [asyncio.create_task(ask(http, "greedy")) for _ in range(20)]
        while server.service.queue.queued < 19:
            await asyncio.sleep(0.01)
        modest = asyncio.create_task(ask(http, "modest"))
        while server.service.queue.queued < 20:
            await asyncio.sleep(0.01)
        gate.open()
        await asyncio.gather(modest, *greedy)

    assert served.index("modest") < 12


@pytest.mark.parametrize("queued", [0, 10, 10**6])
def test_the_time_to_come_again_is_bounded(queued: int) -> None:
    queue = FairQueue(4, 10)
    queue.queued = queued

    assert 1 <= queue.retry_after() <= 60
