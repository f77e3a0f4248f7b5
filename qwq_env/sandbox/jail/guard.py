"""The guard over one child: waits for its end, and ends it when the host or a limit says so."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Final

from qwq_env.sandbox.jail import usage, wire

_GENTLE_SECONDS: Final = 0.03
"""Seconds between Ctrl-C and the end, in which a program may flush what it printed."""

_FIRST_LOOK: Final = 0.02
_LAZIEST_LOOK: Final = 0.4
_FIRST_METER_PAUSE: Final = 0.05
_SHORTEST_PAUSE: Final = 0.01
"""Seconds between two looks at the CPU time of many processes, which use up the rest together, or
vanish before the next look."""


_FIRST_LOOK_AT_REST: Final = 0.05
_LAZIEST_LOOK_AT_REST: Final = 6.4
_CPU_AT_REST: Final = 0.2
"""CPU seconds that a child may use while it is at rest before it is killed. One that was stopped
uses none; but processes that wake each other, or timers, may undo that a few times."""


class Guard:
    """Stands over one child after another; `wait` returns when one has ended or was told to.

    A child at `rest` is stopped, with all it started: a session between two of its steps.
    `folder` is the scratch folder where no namespace surrounds the child: then the guard looks at
    the folder's size and at the child's threads, less and less often while the child does nothing.
    """

    def __init__(self, control: socket.socket, folder: str | None, disk_bytes: int) -> None:
        self._control = control
        self._folder = folder
        self._disk_bytes = disk_bytes
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._serial = -1
        self._pid = 0
        self._handle = -1
        self._deadline: float | None = None
        self._meter = usage.Meter(0, False)
        self._number = 0
        self._allowance: float | None = None
        self._pause_of_meter = _FIRST_METER_PAUSE
        self._pause = _FIRST_LOOK
        self._cpu_at_last_look = 0.0
        self._cpu_when_stopped: float | None = None
        self._pause_at_rest = _FIRST_LOOK_AT_REST

    def wait(self, serial: int, pid: int) -> None:
        """Return when the child has ended, or is about to."""
        handle = os.pidfd_open(pid)
        self._poll.register(handle, select.POLLIN)
        try:
            # Most children end by themselves before anyone has anything to say about them.
            if self._folder is None and self._poll.poll()[0][0] == handle:
                return
            self._serial, self._pid, self._handle = serial, pid, handle
            self._deadline = self._allowance = self._cpu_when_stopped = None
            self._pause, self._cpu_at_last_look = _FIRST_LOOK, 0.0
            self._meter = usage.Meter(pid, others=self._folder is None)
            self._watch()
        finally:
            self._poll.unregister(handle)
            os.close(handle)

    def _watch(self) -> None:
        """Return when the child has ended, or is about to."""
        while True:
            pause = self._seconds_to_wait()
            if pause == 0.0:
                # The time to end gently, after an interrupt, is over.
                self._kill()
                return
            events = dict(self._poll.poll(None if pause is None else pause * 1000 + 1))
            if self._handle in events:
                return
            if self._control.fileno() in events:
                if self._obey():
                    return
            elif self._cpu_when_stopped is not None:
                if self._too_busy_at_rest(self._cpu_when_stopped):
                    self._kill()
                    return
            elif self._folder is not None and self._too_much(self._folder):
                self._kill()
                return

    def _seconds_to_wait(self) -> float | None:
        if self._cpu_when_stopped is not None:
            return self._pause_at_rest
        pauses = []
        if self._deadline is not None:
            pauses.append(self._deadline - time.monotonic())
        elif self._allowance is not None and (seconds := self._seconds_of_allowance()):
            pauses.append(seconds)
        if self._folder is not None:
            pauses.append(self._pause)
        return max(0.0, min(pauses)) if pauses else None

    def _seconds_of_allowance(self) -> float:
        """Return for how long the CPU time that is left will last; where none is, say so once."""
        meter = self._meter
        left = (self._allowance or 0.0) - meter.cpu_seconds()
        if left <= 0:
            self._allowance = None
            self._control.send(wire.OVER.pack(self._number))
            return 0.0
        if self._folder is not None:
            return left
        # What vanishes between two looks is not counted: so these begin close to each other.
        pause = self._pause_of_meter
        self._pause_of_meter = _SHORTEST_PAUSE if meter.churns else 2 * pause
        return max(min(left / (meter.living + 1), pause), _SHORTEST_PAUSE)

    def _obey(self) -> bool:
        """Do what the host says; whether that ends the child."""
        message, _ = wire.receive(self._control)
        if not message:
            os._exit(0)
        order, serial, seconds, number = wire.ORDER.unpack(message)
        if serial != self._serial:
            return False  # meant for a child that has ended meanwhile
        if order == wire.KILL:
            self._kill()
            return True
        if order == wire.STOP_GENTLY:
            self._interrupt()
            self._deadline = time.monotonic() + _GENTLE_SECONDS
        elif order == wire.INTERRUPT:
            self._interrupt()
            wire.send(self._control, wire.INTERRUPTED)
        elif order == wire.WATCH_CPU:
            self._allowance, self._number = self._meter.cpu_seconds() + seconds, number
            self._pause_of_meter = _FIRST_METER_PAUSE
        elif order == wire.REST:
            self._signal_all(signal.SIGSTOP)
            self._allowance = None
            self._cpu_when_stopped = self._meter.cpu_seconds()
            self._pause_at_rest = _FIRST_LOOK_AT_REST
        elif order == wire.GO_ON:
            self._cpu_when_stopped = None
            self._signal_all(signal.SIGCONT)
        return False

    def _too_busy_at_rest(self, when_stopped: float) -> bool:
        """Stop all of it once more; whether it has used too much since it was first stopped."""
        self._signal_all(signal.SIGSTOP)
        self._pause_at_rest = min(2 * self._pause_at_rest, _LAZIEST_LOOK_AT_REST)
        return self._meter.cpu_seconds() - when_stopped > _CPU_AT_REST

    def _signal_all(self, number: int) -> None:
        """Signal the child, and in a namespace of its own all that descends from it."""
        with contextlib.suppress(ProcessLookupError):
            if self._folder is None:
                os.kill(-1, number)
            else:
                signal.pidfd_send_signal(self._handle, number)

    def _interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGINT)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _too_much(self, folder: str) -> bool:
        used = usage.cpu_seconds(self._pid)
        busy, self._cpu_at_last_look = used > self._cpu_at_last_look, used
        self._pause = _FIRST_LOOK if busy else min(2 * self._pause, _LAZIEST_LOOK)
        if usage.has_too_many_threads(self._pid):
            return True
        return busy and usage.DiskCount(self._disk_bytes).is_exceeded(folder)
