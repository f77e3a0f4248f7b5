"""The host's hold on one slot: starting jobs on it, and the watch over what runs in it.

Each program is given pipes of its own; once it and all it started are dead, nothing more can come
in them. The common, short execution costs the host one message out and one in: streams are read
while a program runs only if it runs for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from qwq_env.sandbox.cgroup import Cgroup, CgroupTree
from qwq_env.sandbox.ends import Ends, Streams
from qwq_env.sandbox.errors import SandboxUnavailable
from qwq_env.sandbox.forkserver import ForkServer
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.stream import Stream, sealed_file

_START_SECONDS: Final = 30.0
_PATIENCE: Final = 0.005
"""Seconds after which a running program's streams are read and its time is watched."""

_GRACE: Final = 1.0
"""Seconds that a slot has to end a child before it is itself ended from outside. One that works
takes a millisecond; to replace one that only waits for its turn makes a busy machine busier."""

_FLOOD: Final = 8
"""How many times its output limit a program may write before it is stopped."""

_CORES: Final = len(os.sched_getaffinity(0))
_SHORTEST_PAUSE: Final = 0.02
"""Seconds between two looks at the CPU time of a control group, which every core may add to."""

_CREDENTIALS: Final = struct.Struct("=3i")


class SlotLost(Exception):
    """The slot died under an execution, by itself; see `blame` for whose doing that is."""


class Ended(NamedTuple):
    """What a child's end looked like, from outside."""

    wait_status: int
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    verdict: str | None
    """`timeout`, `output`, `memory` or `killed` where it was stopped, None where it ended so."""
    stdout: bytes
    stderr: bytes
    report: bytes
    truncated: tuple[str, ...]


class SlotHandle:
    """One slot. `open` it, `start` a job on it, await its `Ended`; `destroy` ends it for good.

    Raises OSError where this process has no descriptors left.
    """

    def __init__(self, disk_mb: int, shared: bool, on_lost: Callable[[SlotHandle], None]) -> None:
        self.disk_mb = disk_mb
        self.shared = shared
        self.pid = 0
        self.alive = False
        self.server: ForkServer | None = None
        """The fork server that made it."""
        self.began = False
        """Whether a program was running when the slot was lost."""
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._groups: CgroupTree | None = None
        self._group: Cgroup | None = None
        self._serial = 0
        self._began = 0.0
        self._limits = Limits()
        self._verdict: str | None = None
        self._future: asyncio.Future[Ended] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listening = False
        self._interruption: asyncio.Future[None] | None = None
        self._watches = 0
        self._allowance = 0.0
        self._on_over: Callable[[], None] | None = None
        self._meter_timer: asyncio.TimerHandle | None = None
        self.on_flood: Callable[[], None] = self.kill_child
        """What is done about a program that writes far more than is kept."""
        self._ends = Ends()
        self._streams: Streams | None = None

    async def open(self, server: ForkServer, groups: CgroupTree | None) -> None:
        """Have the server fork the slot, and wait until it is confined.

        Raises `SandboxUnavailable`.
        """
        self._ends.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            server.request(self.disk_mb, self.shared, self._ends.theirs())
            self._ends.let_go()
            self.server = server
            async with asyncio.timeout(_START_SECONDS):
                message, pid = await self._hear_from_slot()
        except (OSError, TimeoutError) as error:
            self.destroy()
            raise SandboxUnavailable(f"the slot did not start: {error or 'too slow'}") from error
        except BaseException:
            self.destroy()
            raise
        if message != wire.READY:
            self.destroy()
            reason = message[1:].decode(errors="replace") or "it died"
            raise SandboxUnavailable(f"the slot did not start: {reason}")
        self._ends.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
            if groups is not None:
                self._groups, self._group = groups, groups.borrow()
                self._group.adopt(pid)
            self._ends.control.send(wire.GO)
        except OSError as error:
            self.destroy()
            raise SandboxUnavailable(f"the slot did not start: {error}") from error
        self.alive = True
        self._loop.add_reader(self._ends.control.fileno(), self._on_control)

    async def _hear_from_slot(self) -> tuple[bytes, int]:
        readable = self._loop.create_future()
        descriptor = self._ends.control.fileno()
        self._loop.add_reader(descriptor, _settle, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(descriptor)
        message, ancillary, _, _ = self._ends.control.recvmsg(4096, socket.CMSG_SPACE(12))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                # The kernel's word, translated into our own process ids.
                return message, _CREDENTIALS.unpack(data)[0]
        return message, 0

    def start(
        self,
        job: wire.Job,
        code: bytes,
        stdin: bytes,
        channel: socket.socket | None,
        limits: Limits,
        watched: bool = True,
        argv: tuple[str, ...] = (),
    ) -> asyncio.Future[Ended]:
        """Hand the job to the waiting child; the future ends with its end, or with `SlotLost`.

        With `watched` the limits on time are kept here; a session watches its steps itself.
        Raises `SandboxUnavailable` where this process has no descriptors left.
        """
        if self._ends.closed:
            # It died between being handed to whoever waited for it and his turn to run.
            lost: asyncio.Future[Ended] = self._loop.create_future()
            self._fail(lost)
            return lost
        descriptors = _as_files(code if len(code) > wire.INLINE_CODE else b"", stdin)
        try:
            self._streams = streams = Streams(limits.output_bytes, self._owner(), channel is None)
        except OSError as error:
            _close(descriptors)
            raise SandboxUnavailable(f"sandbox: no pipes for a program: {error}") from error
        job = job._replace(
            code_file=len(code) > wire.INLINE_CODE,
            stdin_file=bool(stdin),
            channel=channel is not None,
        )
        passed = (*streams.writers(), *descriptors, *([channel.fileno()] if channel else ()))
        self._limits, self._verdict = limits, None
        if self._group is not None:
            self._group.limit(limits.memory_mb, limits.processes)
            self._ran_out_of_memory()  # what was killed before is not held against this program
        self._future = future = self._loop.create_future()
        self._began = time.perf_counter()
        try:
            wire.send(self._ends.jobs, wire.pack_job(job, argv, code), passed)
        except OSError:
            self.destroy()
        finally:
            _close(descriptors)
        if watched and not future.done():
            self._timer = self._loop.call_later(_PATIENCE, self._watch)
        return future

    def _owner(self) -> int | None:
        return None if self.server is None else self.server.uid

    def begin_step(self) -> None:
        """Hold nothing against the session's next step that an earlier one did."""
        self._verdict = None
        self._ran_out_of_memory()

    def listen(self) -> None:
        """Read the streams as they fill, from now on."""
        if not self._listening and self._streams is not None:
            self._listening = True
            for stream in self._streams.all:
                self._loop.add_reader(stream.reader, self._on_stream, stream)

    def quieten(self) -> None:
        """Stop reading the streams as they fill."""
        if self._listening and self._streams is not None:
            self._listening = False
            for stream in self._streams.all:
                self._loop.remove_reader(stream.reader)

    def take_output(self) -> tuple[bytes, bytes, tuple[str, ...]]:
        """Return what has come since the last time, and the names of the streams cut."""
        if self._streams is None:
            return b"", b"", ()
        self._streams.empty()
        return self._streams.take_printed()

    def order(self, what: int, seconds: float = 0.0) -> None:
        """Tell the slot what to do with the child that runs now."""
        with contextlib.suppress(OSError):
            self._ends.control.send(wire.ORDER.pack(what, self._serial, seconds, self._watches))

    def watch_cpu(self, seconds: float, on_over: Callable[[], None]) -> None:
        """Call `on_over` once all that runs in the slot has used so much CPU time from now on.

        The slot counts, and where there is one the control group, which misses nothing.
        """
        self._watches += 1
        self._on_over = on_over
        self.order(wire.WATCH_CPU, seconds)
        so_far = self._group.cpu_seconds() if self._group is not None else None
        if so_far is not None:
            self._allowance = so_far + seconds
            self._meter()

    def unwatch_cpu(self) -> None:
        """Call nobody any more."""
        self._on_over = None
        if self._meter_timer is not None:
            self._meter_timer.cancel()
            self._meter_timer = None

    def _meter(self) -> None:
        so_far = self._group.cpu_seconds() if self._group is not None else None
        left = self._allowance - (so_far or 0.0)
        if left <= 0:
            self._over()
        else:
            pause = max(left / _CORES, _SHORTEST_PAUSE)
            self._meter_timer = self._loop.call_later(pause, self._meter)

    def _over(self) -> None:
        on_over = self._on_over
        self.unwatch_cpu()
        if on_over is not None:
            on_over()

    def kill_child(self) -> None:
        """End the child, and the slot as well if that does not happen soon."""
        self.order(wire.KILL)
        self._set_timer(_GRACE, self._end_by_force)

    def interrupt(self, seconds: float) -> None:
        """Interrupt the child as by Ctrl-C, and kill it if it still runs after `seconds`."""
        if self._future is None:
            return  # it has ended meanwhile
        self._interruption = self._loop.create_future()
        self.order(wire.INTERRUPT)
        self._set_timer(seconds, self.kill_child)

    async def interrupted(self) -> None:
        """Wait until the interrupt has been delivered, so that it cannot hit what runs next."""
        if self._interruption is not None and not self._interruption.done():
            # Not the child is waited for now, but the slot, which may have to wait for a core.
            self._set_timer(_START_SECONDS, self._end_by_force)
            await self._interruption
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, action)

    def _watch(self) -> None:
        self.listen()
        limits = self._limits
        self.watch_cpu(limits.cpu_seconds, self._overrun)
        self._set_timer(max(0.0, limits.wall_seconds - _PATIENCE), self._overrun)

    def _overrun(self) -> None:
        self._verdict = self._verdict or "timeout"
        self.order(wire.STOP_GENTLY)
        self._set_timer(_GRACE, self._end_by_force)

    def _on_stream(self, stream: Stream) -> None:
        stream.read()
        if stream.total > _FLOOD * max(stream.limit, 1024) and not self._verdict:
            self._verdict = "output"
            self.on_flood()

    def _on_control(self) -> None:
        try:
            message = self._ends.control.recv(4096)
        except (BlockingIOError, ConnectionResetError):
            # A slot that ended before it read an order of ours: its last word comes after this.
            return
        except OSError:
            message = b""
        if message == wire.INTERRUPTED:
            self._acknowledge()
            return
        if len(message) == wire.OVER.size:
            if wire.OVER.unpack(message)[0] == self._watches:
                self._over()
            return
        if len(message) != wire.DONE.size:
            self.destroy()
            return
        _, status, cpu, peak, reusable = wire.DONE.unpack(message)
        self._serial += 1
        self._stop_watching()
        self._acknowledge()
        stdout, stderr, truncated = self.take_output()
        report = self._streams.take_report() if self._streams is not None else b""
        began = self._ends.take_started()
        self._close_streams()
        verdict, wall = self._verdict, time.perf_counter() - self._began
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed and verdict is None and self._ran_out_of_memory():
            verdict = "memory"
        future, self._future = self._future, None
        if not reusable:
            self.destroy()
        if future is None or not began:
            # A child that ended before its job began: the job may still lie in the socket.
            self._fail(future)
            self.destroy()
            return
        if not future.done():
            ended = Ended(status, cpu, wall, peak, verdict, stdout, stderr, report, truncated)
            future.set_result(ended)

    def _ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed for memory among what runs here since the last question, be
        it the slot itself."""
        return self._group is not None and self._group.out_of_memory()

    def _close_streams(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.close()

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.unwatch_cpu()
        self.quieten()

    def _fail(self, future: asyncio.Future[Ended] | None) -> None:
        if future is not None and not future.done():
            future.set_exception(SlotLost())

    def _acknowledge(self) -> None:
        if self._interruption is not None and not self._interruption.done():
            self._interruption.set_result(None)

    def _end_by_force(self) -> None:
        """End a slot whose child will not die: that it was to be killed is its verdict."""
        self._verdict = self._verdict or "killed"
        self.destroy()

    def destroy(self) -> None:
        """End the slot and all in it; what runs fails with its verdict or `SlotLost`."""
        was_alive, self.alive = self.alive, False
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._ends.closed:
            return
        self._stop_watching()
        self._acknowledge()
        if was_alive:
            self._loop.remove_reader(self._ends.control.fileno())
        future, self._future = self._future, None
        if future is not None and not future.done():
            self.began = self._ends.take_started()
            if self._verdict is None and self._ran_out_of_memory():
                self._verdict = "memory"
            if self._verdict is None:
                future.set_exception(SlotLost())
            else:
                future.set_result(self._ended_by_force())
        self._close_streams()
        self._ends.close()
        if self._groups is not None and self._group is not None:
            self._groups.give_back(self._group)
        if was_alive:
            self._on_lost(self)

    def _ended_by_force(self) -> Ended:
        stdout, stderr, truncated = self.take_output()
        wall = time.perf_counter() - self._began
        return Ended(signal.SIGKILL, 0.0, wall, 0, self._verdict, stdout, stderr, b"", truncated)


def _as_files(*contents: bytes) -> list[int]:
    """Put each that is not empty into a sealed file, and return their descriptors."""
    descriptors: list[int] = []
    try:
        descriptors.extend(sealed_file(content) for content in contents if content)
    except OSError as error:
        _close(descriptors)
        raise SandboxUnavailable(f"sandbox: no file for a program: {error}") from error
    return descriptors


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
