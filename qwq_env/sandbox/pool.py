"""Slots kept warm and lent out in the order of asking; a slot that dies is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

from qwq_env.errors import InfrastructureError
from qwq_env.sandbox.cgroup import CgroupTree
from qwq_env.sandbox.errors import SandboxUnavailable, SessionClosed
from qwq_env.sandbox.forkserver import ForkServer
from qwq_env.sandbox.handle import SlotHandle
from qwq_env.sandbox.levels import Plan

_ATTEMPTS: Final = 3


class SlotPool:
    """`take` a slot and `give` it back, or `open` one for oneself (a session).

    One fork server stands behind it, and is started anew when it dies.
    """

    def __init__(
        self,
        plan: Plan,
        preload: Sequence[str],
        slots: int,
        disk_mb: int,
        groups: CgroupTree | None,
    ) -> None:
        self.plan = plan
        self._preload = preload
        self._groups = groups
        self._wanted = slots
        self._shared = 0
        self.steps = 0
        """How many steps of sessions run now; the sessions keep count."""
        self._cores = len(os.sched_getaffinity(0))
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()
        self._idle: deque[SlotHandle] = deque()
        self._waiters: deque[asyncio.Future[SlotHandle]] = deque()
        self._all: set[SlotHandle] = set()
        self._making: set[asyncio.Task[None]] = set()
        self._closed = False
        self.disk_mb = disk_mb

    @property
    def server_pid(self) -> int | None:
        """The process id of the fork server's launcher."""
        return self._server.pid if self._server else None

    @property
    def slot_pids(self) -> list[int]:
        """The process ids of the slots, as this process sees them."""
        return [slot.pid for slot in self._all]

    @property
    def waiting(self) -> int:
        """How many callers wait for a slot."""
        return len(self._waiters)

    @property
    def has_core_to_spare(self) -> bool:
        """Whether fewer programs than cores run here."""
        return self.steps + self._shared - len(self._idle) < self._cores

    async def start(self) -> None:
        """Start the server and the slots; raises `SandboxUnavailable`."""
        await self._running_server()
        self._make_up()
        await asyncio.gather(*self._making)
        if not self._idle:
            await self.open(self.disk_mb)  # raises what is wrong

    async def _running_server(self) -> ForkServer:
        async with self._starting:
            server = self._server
            if self._closed:
                raise SessionClosed("sandbox: was closed")
            if server is None or not server.alive:
                if server is not None:
                    await asyncio.to_thread(server.close)
                self._server = server = ForkServer(self.plan, self._preload)
                await server.start()
            return server

    async def open(self, disk_mb: int, shared: bool = False) -> SlotHandle:
        """Return a new slot; raises `SandboxUnavailable` after several attempts.

        A slot that is `shared` runs one-shots, many in a row, and is given huge pages.
        """
        for attempt in range(_ATTEMPTS):
            try:
                slot = SlotHandle(disk_mb, shared, self._lost)
            except OSError as error:
                raise SandboxUnavailable(
                    f"sandbox: no slot can be made ({error}); allow more open files (ulimit -n)"
                ) from error
            try:
                server = await self._running_server()
                await slot.open(server, self._groups)
            except (SandboxUnavailable, OSError) as error:
                slot.destroy()
                if attempt == _ATTEMPTS - 1:
                    raise SandboxUnavailable(str(error)) from error
                await asyncio.sleep(0.05 * (attempt + 1))
                continue
            except BaseException:
                slot.destroy()
                raise
            self._all.add(slot)
            if self._closed:
                slot.destroy()
                raise SessionClosed("sandbox: was closed")
            return slot
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def lend(self, disk_mb: int) -> AsyncIterator[SlotHandle]:
        """Lend a slot for one job, in its turn; with other scratch space, one made for the job."""
        turn = slot = await self.take()
        try:
            if disk_mb != self.disk_mb:
                slot = await self.open(disk_mb)
            yield slot
        finally:
            self.give(turn)
            if slot is not turn:
                slot.destroy()

    async def take(self) -> SlotHandle:
        """Return a slot for one job, waiting in line; it must be given back."""
        if self._closed:
            raise SessionClosed("sandbox: was closed")
        self._make_up()
        if self._idle and not self._waiters:
            return self._idle.popleft()
        waiter: asyncio.Future[SlotHandle] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give(waiter.result())
            raise

    def give(self, slot: SlotHandle) -> None:
        """Take a slot back, and hand it to the first in line; a dead one is replaced already."""
        if not slot.alive:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._idle.append(slot)

    def _lost(self, slot: SlotHandle) -> None:
        self._all.discard(slot)
        if slot.shared:
            self._shared -= 1
            if slot in self._idle:
                self._idle.remove(slot)
            self._make_up()

    def _make_up(self) -> None:
        """Make slots in the background until there are as many as wanted."""
        while self._shared < self._wanted and not self._closed:
            self._shared += 1
            task = asyncio.get_running_loop().create_task(self._make())
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def _make(self) -> None:
        made = False
        try:
            slot = await self.open(self.disk_mb, shared=True)
            made = True
            self.give(slot)
        except InfrastructureError as error:
            if self._shared == 1:
                # There is none left, and none can be made: whoever waits must hear of it.
                self._refuse(error)
        except SessionClosed:
            pass
        finally:
            self._shared -= not made

    def _refuse(self, error: Exception) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    async def aclose(self) -> None:
        """End every slot and the server; whoever waits gets `SessionClosed`."""
        self._closed = True
        self._refuse(SessionClosed("sandbox: was closed"))
        for task in list(self._making):
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
        for slot in list(self._all):
            slot.destroy()
        async with self._starting:
            if self._server is not None:
                await asyncio.to_thread(self._server.close)
                self._server = None
