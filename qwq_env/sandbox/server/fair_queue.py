"""A bounded queue for execution slots that is fair between clients, not between requests.

First come, first served gives the machine to whoever sends most: one trainer with 512 requests
in the queue makes the next one wait for all of them. Here the waiting clients take turns, and
when the queue is full the client with the longest line loses its newest entry, so that nobody
can be kept out by somebody else's backlog. Everything runs on one event loop; nothing locks.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from qwq_env.errors import InfrastructureError

_SHORTEST_RETRY_S: Final = 1
_LONGEST_RETRY_S: Final = 60
# One slow execution must not decide what the next thousand clients are told.
_DURATION_WEIGHT: Final = 0.05


class QueueFull(InfrastructureError):
    """No slot is free and no place in the queue either; come back in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class FairQueue:
    """Hands out `slots` concurrent turns; at most `capacity` callers wait for one.

    Invariant: while anybody waits, every slot is taken.
    """

    def __init__(self, slots: int, capacity: int) -> None:
        self.slots = slots
        self.capacity = capacity
        self.running = 0
        self.queued = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._mean_s = 0.05

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[float]:
        """Wait for a slot and hold it; yields the seconds waited.

        Raises `QueueFull` at once, or later if this entry is dropped for a client with a
        shorter line. A caller that is cancelled while it waits leaves no trace.
        """
        asked = time.monotonic()
        await self._acquire(client)
        began = time.monotonic()
        try:
            yield began - asked
        finally:
            self._mean_s += _DURATION_WEIGHT * (time.monotonic() - began - self._mean_s)
            self._release()

    def retry_after(self) -> int:
        """Whole seconds after which about half of the present queue should have run."""
        seconds = self._mean_s * self.queued / (2 * self.slots)
        return min(_LONGEST_RETRY_S, max(_SHORTEST_RETRY_S, math.ceil(seconds)))

    async def _acquire(self, client: str) -> None:
        if self.running < self.slots:
            self.running += 1
            return
        if self.queued >= self.capacity:
            self._make_room(client)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(client, deque()).append(turn)
        self.queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The slot was granted in the same tick in which the caller was cancelled.
                self._release()
            else:
                self._leave(client, turn)
            raise

    def _make_room(self, client: str) -> None:
        longest = max(self._lines, key=lambda name: len(self._lines[name]), default=None)
        own = len(self._lines.get(client, ()))
        if longest is None or own + 1 >= len(self._lines[longest]):
            raise QueueFull(self.retry_after())
        newest = self._lines[longest][-1]
        self._leave(longest, newest)
        newest.set_exception(QueueFull(self.retry_after()))

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(client)
        if line is None or turn not in line:
            return
        line.remove(turn)
        self.queued -= 1
        if not line:
            del self._lines[client]

    def _release(self) -> None:
        self.running -= 1
        while self._lines:
            client, line = next(iter(self._lines.items()))
            turn = line.popleft()
            self.queued -= 1
            if line:
                self._lines.move_to_end(client)
            else:
                del self._lines[client]
            if not turn.done():
                self.running += 1
                turn.set_result(None)
                return
