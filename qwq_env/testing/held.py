"""What a process holds, and what keeps its event loop: to see that neither grows or stalls."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

from qwq_env import portal

_TICK: Final = 0.01
_STALL_SECONDS: Final = 0.4
_PROCESS: Final = Path("/proc/self")


class Held(NamedTuple):
    """How many file descriptors, child processes, threads and asyncio tasks there are.

    Descriptors and processes are 0 where there is no /proc to count them in.
    """

    descriptors: int
    processes: int
    threads: int
    tasks: int

    @classmethod
    def now(cls) -> Held:
        """Count."""
        tasks = portal.run(_count_tasks())
        return cls(_descriptors(), _children(), threading.active_count(), tasks)


def leak(once: Callable[[], object], times: int, settle: float) -> str:
    """Run `once` so many times twice; return what grew by one or more a time, "" for nothing.

    The first round warms up what is made once and kept: pools, servers, caches. What is being
    closed has `settle` seconds for it.
    """
    for _ in range(times):
        once()
    before = Held.now()
    for _ in range(times):
        once()
    deadline = time.monotonic() + settle
    while grown := _grown(before, Held.now(), times):
        if time.monotonic() > deadline:
            return grown
        gc.collect()
        time.sleep(5 * _TICK)
    return ""


async def stalled(work: Awaitable[object]) -> float:
    """Await `work` and return for how many seconds it has kept the event loop to itself.

    0 where that is less than half a second, or no longer than a thread beside it had to wait: on
    a busy machine everything waits.
    """
    gaps = [0.0, 0.0]
    over = threading.Event()

    def thread() -> None:
        last = time.perf_counter()
        while not over.wait(_TICK):
            last, before = time.perf_counter(), last
            gaps[0] = max(gaps[0], last - before)

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            last, before = time.perf_counter(), last
            gaps[1] = max(gaps[1], last - before)

    watch = threading.Thread(target=thread, daemon=True)
    watch.start()
    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    try:
        await work
        await asyncio.sleep(2 * _TICK)
    finally:
        beating.cancel()
        over.set()
    return gaps[1] if gaps[1] > _STALL_SECONDS and gaps[1] > 4 * gaps[0] else 0.0


async def _count_tasks() -> int:
    return len(asyncio.all_tasks())


def _grown(before: Held, after: Held, times: int) -> str:
    for name, old, new in zip(Held._fields, before, after, strict=True):
        if new - old >= times:
            return f"{new - old} more {name} after {times} episodes"
    return ""


def _descriptors() -> int:
    try:
        return len(os.listdir(_PROCESS / "fd"))  # noqa: PTH208 - no Path for each is needed
    except OSError:
        return 0


def _children() -> int:
    found = 0
    for each in _PROCESS.glob("task/*/children"):
        try:
            found += len(each.read_text().split())
        except OSError:  # the thread has ended
            continue
    return found
