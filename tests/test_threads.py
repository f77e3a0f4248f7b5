"""Threads of tools: taken again when they are idle, and never waited for."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest

from qwq_env import threads
from qwq_env.threads import in_thread


@pytest.fixture(autouse=True)
def none_idle(monkeypatch):
    monkeypatch.setattr(threads, "_idle", [])


async def test_one_thread_serves_calls_that_come_one_by_one():
    assert len({await in_thread(threading.get_ident) for _ in range(20)}) == 1


async def test_a_call_never_waits_for_another():
    release = threading.Event()
    stuck = [asyncio.create_task(in_thread(release.wait)) for _ in range(50)]
    await asyncio.sleep(0)

    assert await asyncio.wait_for(in_thread(lambda: "beside"), 20) == "beside"
    release.set()
    assert await asyncio.gather(*stuck) == [True] * 50


async def test_an_idle_thread_ends_and_the_next_call_gets_another(monkeypatch):
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.01)
    first = await in_thread(threading.current_thread)
    first.join(timeout=20)

    assert not first.is_alive()
    assert await in_thread(threading.current_thread) is not first


async def test_calls_that_come_as_threads_end_are_all_answered(monkeypatch):
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.0)

    async def chain(number: int) -> int:
        for _ in range(50):
            assert await in_thread(lambda: number) == number
        return number

    async with asyncio.timeout(60):
        assert await asyncio.gather(*map(chain, range(20))) == list(range(20))


def test_a_loop_that_is_gone_is_not_kept_nor_waited_for():
    begun = threading.Event()

    def late() -> None:
        begun.set()
        time.sleep(0.05)

    async def give_up() -> weakref.ref[asyncio.AbstractEventLoop]:
        call = asyncio.create_task(in_thread(late))
        await in_thread(begun.wait)
        call.cancel()
        return weakref.ref(asyncio.get_running_loop())

    gone = asyncio.run(give_up())
    assert asyncio.run(in_thread(lambda: 7)) == 7
    time.sleep(0.06)
    gc.collect()

    assert gone() is None


async def test_nothing_of_a_call_is_kept_by_an_idle_thread():
    class Big:
        pass

    made = Big()
    kept = weakref.ref(made)
    await in_thread(lambda made=made: None)
    del made
    await asyncio.sleep(0.01)
    gc.collect()

    assert kept() is None
