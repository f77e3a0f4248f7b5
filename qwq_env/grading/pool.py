"""A pool of grading processes that can be killed: the sync and the async face.

A grader that runs SymPy on what a model wrote will one day not come back. In a thread nothing can
stop it; in a ProcessPoolExecutor it takes its slot for ever. Here every call has bounds of CPU and
wall time that are enforced from outside with SIGKILL, a fresh worker stands there milliseconds
later, and what waited behind a slow call is graded by another.

    pool = GraderPool(PoolSettings("qwq_env.grading.math.judge:judge_fully", cpu_s=1))
    score = await pool.grade("1/2", "0.5")      # in a coroutine
    score = pool.run("1/2", "0.5")              # in a thread
    pool.close()

The hops of a call: `grade` → `Dispatcher.submit` → the dispatcher's thread → a worker's socket →
the function, in `worker`.
"""

import asyncio
import atexit
import os
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

from qwq_env.grading.dispatch import Dispatcher, PoolClosed
from qwq_env.grading.score import Score

__all__ = ["GraderPool", "PoolClosed", "PoolSettings"]

_POLL_S = 0.005
_pools: "weakref.WeakSet[GraderPool]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What a pool runs and what a worker may cost.

    `target` is `module:function`; the function takes what JSON can carry and returns a `Score`.
    `workers` processes, and up to four times as many while slow calls are waited for; `cpu_s`
    seconds of CPU time a call, None for no such bound; `deadline_s` wall seconds, counted from when
    a worker begins it; `memory_mb` of address space above the warm image; a worker is replaced
    after `recycle_after` calls; no more than `max_queued` calls wait, further callers wait before
    they are let in.
    """

    target: str
    workers: int = 2
    deadline_s: float = 5.0
    cpu_s: float | None = None
    memory_mb: int = 512
    recycle_after: int = 5_000
    max_queued: int = 20_000


class GraderPool:
    """Persistent workers behind one function. Starts on first use; safe from every thread.

    In a forked child the pool is empty and starts workers of its own; a pickled pool is a pool
    with the same settings. Calls never raise for what happens to a worker: more CPU time, memory or
    depth than allowed gives an undecided `too_complex`, which the call itself is to blame for. Over
    the wall deadline twice gives an undecided `timeout`, two workers lost in a row an undecided
    `infra`: those are ours. Raises `PoolClosed` after `close`, and `GraderUnavailable` when the
    function cannot be imported at all.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self._lock = Lock()
        self._dispatcher: Dispatcher | None = None
        self._closed = False
        _pools.add(self)

    async def grade(self, *arguments: Any) -> Score:
        """The score of one call; thousands may wait side by side."""
        dispatcher = self._started()
        while dispatcher.queued() >= self.settings.max_queued:
            await asyncio.sleep(_POLL_S)
        return await asyncio.wrap_future(dispatcher.submit(arguments))

    def run(self, *arguments: Any) -> Score:
        """The score of one call, for plain threads; blocks until it is there."""
        return self.submit(*arguments).result()

    def submit(self, *arguments: Any) -> "Future[Score]":
        """The score of one call, as a future; blocks while the queue is full."""
        dispatcher = self._started()
        dispatcher.wait_for_room(self.settings.max_queued)
        return dispatcher.submit(arguments)

    def worker_pids(self) -> list[int]:
        """The process ids of the workers that are ready now, for monitoring."""
        dispatcher = self._dispatcher
        return dispatcher.pids() if dispatcher else []

    def close(self) -> None:
        """End all processes; what was still waiting becomes an undecided `infra`."""
        with self._lock:
            self._closed = True
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["GraderPool"], tuple[PoolSettings]]:
        return GraderPool, (self.settings,)

    def _started(self) -> Dispatcher:
        dispatcher = self._dispatcher
        if dispatcher is not None:
            return dispatcher
        with self._lock:
            if self._closed:
                raise PoolClosed("the grader pool is closed")
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(
                    self.settings.target,
                    workers=self.settings.workers,
                    deadline_s=self.settings.deadline_s,
                    cpu_s=self.settings.cpu_s,
                    memory_mb=self.settings.memory_mb,
                    recycle_after=self.settings.recycle_after,
                )
            return self._dispatcher

    def _forget_parent(self) -> None:
        """In a forked child: the thread is gone and the workers belong to the parent."""
        self._lock = Lock()
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.abandon()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._forget_parent()


@atexit.register
def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


os.register_at_fork(after_in_child=_after_fork)
