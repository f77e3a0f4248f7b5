"""A server that died is told apart from one that is slow."""

from __future__ import annotations

import asyncio
import logging

import pytest

from qwq_env.errors import ServersGone
from qwq_env.http import liveness as module
from qwq_env.http.liveness import Liveness


class Probed:
    """A server that is there or not, and counts how often it was asked."""

    def __init__(self, there: bool) -> None:
        self.there = there
        self.asked = 0

    async def __call__(self, name: str) -> str | None:
        self.asked += 1
        return None if self.there else "connection refused"


async def wait_for(liveness: Liveness, *failures: str) -> None:
    async with liveness.watching():
        for name in failures:
            liveness.failed(name, "reset", answered=False)
        await liveness.settled()
        # As somebody who waits for an answer, for ever.
        await asyncio.sleep(3600)


async def test_everybody_hears_of_it_and_one_probe_asks_for_all():
    probe = Probed(there=False)
    liveness = Liveness("a", probe, grace=0.2)
    waiting = [asyncio.create_task(wait_for(liveness, "a")) for _ in range(100)]
    waiting += [asyncio.create_task(wait_for(liveness)) for _ in range(100)]
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)

    assert {type(error) for error in ended} == {ServersGone}
    assert "a: connection refused" in str(ended[0])
    assert probe.asked < 20


@pytest.mark.parametrize("names", ["a", "ab"])
async def test_a_server_that_answers_its_probe_is_waited_for(names):
    async def probe(name: str) -> str | None:
        return None if name == "a" else "connection refused"

    liveness = Liveness(names, probe, grace=0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for(liveness, *names), 0.4)

    assert not liveness.in_doubt("a")


async def test_a_short_absence_is_waited_out():
    probe = Probed(there=False)
    liveness = Liveness("a", probe, grace=1.0)
    async with liveness.watching():
        liveness.failed("a", "reset", answered=False)
        asyncio.get_running_loop().call_later(0.4, setattr, probe, "there", True)
        await liveness.settled()

        assert not liveness.in_doubt("a")


async def test_an_answer_ends_the_doubt_whatever_the_probe_says():
    liveness = Liveness("a", Probed(there=False), grace=0.3)

    async def answers() -> None:
        while True:
            await asyncio.sleep(0.02)
            liveness.failed("a", "429: busy", answered=True)

    answering = asyncio.create_task(answers())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for(liveness, "a"), 1.0)
    answering.cancel()


async def test_they_may_come_back_for_the_next_run():
    probe = Probed(there=False)
    liveness = Liveness("a", probe, grace=0.05)
    with pytest.raises(ServersGone):
        await wait_for(liveness, "a")
    probe.there = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for(liveness), 0.3)


async def test_a_machine_that_vanished_is_missed_by_its_silence(monkeypatch):
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.05)
    liveness = Liveness("a", Probed(there=False), grace=0.05, heartbeat=True)
    with pytest.raises(ServersGone):
        await asyncio.wait_for(wait_for(liveness), 5)


async def test_a_timeout_of_the_callers_own_stays_one():
    liveness = Liveness("a", Probed(there=True), grace=0.05)
    with pytest.raises(TimeoutError):
        async with liveness.watching():
            raise TimeoutError


async def test_trouble_is_told_once_and_so_is_its_end(caplog, monkeypatch):
    monkeypatch.setattr(module, "_WARN_SECONDS", 0.0)
    liveness = Liveness("a", Probed(there=True))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            liveness.failed("a", "500: out of memory", answered=True)
        for _ in range(3):
            liveness.served("a")

    first, second = caplog.messages
    assert first.startswith("a: nothing but failures") and "500: out of memory" in first
    assert second.startswith("a: serves again")


async def test_long_wait_that_a_server_asks_for_is_told_at_once(caplog):
    liveness = Liveness("a", Probed(there=True))
    for _ in range(3):
        liveness.failed("a", "429: slow down", answered=True, after=3600.0)

    [told] = caplog.messages
    assert told.endswith("429: slow down; left alone for 3600 seconds, as it asks")


async def test_a_single_failure_is_not_worth_a_word(caplog):
    liveness = Liveness("a", Probed(there=True))
    liveness.failed("a", "500", answered=True)
    liveness.served("a")

    assert caplog.messages == []


async def test_nothing_is_left_behind():
    liveness = Liveness("a", Probed(there=True), grace=0.05, heartbeat=True)
    async with liveness.watching():
        liveness.failed("a", "reset", answered=False)
        await liveness.settled()
    await asyncio.sleep(0.02)

    assert len(asyncio.all_tasks()) == 1
