"""Plain functions of tools run in threads, so that one that waits cannot stall other episodes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from qwq_env.errors import InfrastructureError, describe_error

_Job = Callable[[], Callable[[], None]]
"""Does the work, and returns what delivers the outcome."""

_IDLE_SECONDS: Final = 5.0
_idle: list[_Worker] = []
"""Threads that wait for work, the one that was busy last behind all others."""


async def in_thread(function: Callable[[], Any]) -> Any:
    """Run `function` in a thread and return what it returns.

    Not `asyncio.to_thread`: a thread cannot be stopped, so a function that never returns would
    hold one of the few threads of the loop's pool for good, and the interpreter's end up. Here a
    call gets a thread that is idle, or a new one, so no call ever waits for another.
    """
    loop = asyncio.get_running_loop()
    if (inbox := _inboxes.get(id(loop))) is None:
        inbox = _inboxes[id(loop)] = _Inbox(loop)
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> Callable[[], None]:
        value, failure = None, None
        try:
            value = context.run(function)
        # Whatever it raises goes to whoever waits.
        except BaseException as error:  # noqa: BLE001
            failure = error
        return functools.partial(inbox.put, _Ended(future, value, failure))

    _give(work)
    return await future


class _Ended(NamedTuple):
    """What a call returned or raised, for whoever waits for it."""

    future: asyncio.Future[Any]
    value: Any
    error: BaseException | None

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        elif isinstance(self.error, StopIteration):
            self.future.set_exception(RuntimeError(f"StopIteration: {self.error}"))
        else:
            self.future.set_exception(self.error)


class _Inbox:
    """The calls that have ended and wait for their loop, which is woken once for all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended: deque[_Ended] = deque()
        self._told = False

    def put(self, ended: _Ended) -> None:
        """Hand over from a thread. Where the loop is closed nobody waits any more."""
        self._ended.append(ended)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        # In this order: what comes in between wakes the loop again.
        self._told = False
        while self._ended:
            self._ended.popleft().settle()


_inboxes: Final[weakref.WeakValueDictionary[int, _Inbox]] = weakref.WeakValueDictionary()
"""Of each loop, by its identity, as long as one of its calls is under way."""


def _give(job: _Job) -> None:
    try:
        worker = _idle.pop()
    except IndexError:
        try:
            _Worker(job).start()
        except (RuntimeError, MemoryError) as error:
            message = f"no thread can be started: {describe_error(error)}"
            raise InfrastructureError(message) from None
    else:
        worker.give(job)


class _Worker(threading.Thread):
    """Does one job after another; it ends when it had none for a while.

    To be idle is to stand in `_idle`. Whoever takes it out of there, its own thread or one that has
    a job for it, decides what becomes of it.
    """

    def __init__(self, job: _Job) -> None:
        super().__init__(daemon=True, name="qwq-tool")
        self._job: _Job | None = job
        self._given = threading.Lock()
        self._given.acquire()

    def give(self, job: _Job) -> None:
        """Hand over a job; only to one that was taken out of `_idle`."""
        self._job = job
        self._given.release()

    def run(self) -> None:
        """Do what is given."""
        while (job := self._job) is not None:
            self._job = None
            deliver = job()
            # Idle before it is known, so that whoever calls next finds it.
            _idle.append(self)
            deliver()
            # What it returned or raised must not be kept alive until the next.
            del job, deliver
            if self._given.acquire(timeout=_IDLE_SECONDS):
                continue
            try:
                _idle.remove(self)
            except ValueError:  # taken in this very moment: its job is on the way
                self._given.acquire()


# A forked child has the list, but none of the threads.
os.register_at_fork(after_in_child=_idle.clear)
