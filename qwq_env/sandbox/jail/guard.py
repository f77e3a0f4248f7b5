"""The guard over one child: waits for its end, and ends it when the host or a limit says so."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Final

from qwq_env.sandbox.jail import wire

_GENTLE_SECONDS: Final = 0.03
"""Seconds between Ctrl-C and the end, in which a program may flush what it printed."""

_FIRST_LOOK: Final = 0.02
_LAZIEST_LOOK: Final = 0.4
_MOST_FILES: Final = 4096


class Guard:
    """Stands over one child after another; `wait` returns when one has ended or was told to.

    `folder` is the scratch folder where no file system of its own bounds it: then the guard looks
    at its size, less and less often while the child does nothing.
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
        self._allowance: float | None = None
        self._pause = _FIRST_LOOK
        self._cpu_at_last_look = 0.0
        self._reason = wire.REASON_ENDED

    def wait(self, serial: int, pid: int) -> int:
        """Return why the child has ended, or is about to: one of `wire.REASON_…`."""
        handle = os.pidfd_open(pid)
        self._poll.register(handle, select.POLLIN)
        try:
            # Most children end by themselves before anyone has anything to say about them.
            if self._folder is None and self._poll.poll()[0][0] == handle:
                return wire.REASON_ENDED
            self._serial, self._pid, self._handle = serial, pid, handle
            self._deadline = self._allowance = None
            self._pause, self._cpu_at_last_look = _FIRST_LOOK, 0.0
            self._reason = wire.REASON_ENDED
            self._watch()
            return self._reason
        finally:
            self._poll.unregister(handle)
            os.close(handle)

    def _watch(self) -> None:
        """Return when the child has ended, or is about to."""
        while True:
            pause = self._seconds_to_wait()
            if pause == 0.0:
                if self._time_is_up():
                    return
                continue
            events = dict(self._poll.poll(None if pause is None else pause * 1000 + 1))
            if self._handle in events:
                return
            if self._control.fileno() in events:
                if self._obey():
                    return
            elif self._folder is not None and self._too_much(self._folder):
                self._kill()
                return

    def _seconds_to_wait(self) -> float | None:
        pauses = []
        if self._deadline is not None:
            pauses.append(self._deadline - time.monotonic())
        elif self._allowance is not None:
            pauses.append(self._allowance - cpu_seconds(self._pid))
        if self._folder is not None:
            pauses.append(self._pause)
        return max(0.0, min(pauses)) if pauses else None

    def _time_is_up(self) -> bool:
        """Interrupt first, kill after; whether it was killed."""
        if self._deadline is None:
            self._reason = wire.REASON_CPU
            self._interrupt()
            self._deadline = time.monotonic() + _GENTLE_SECONDS
            return False
        self._kill()
        return True

    def _obey(self) -> bool:
        """Do what the host says; whether that ends the child."""
        message, _ = wire.receive(self._control)
        if not message:
            os._exit(0)
        order, serial, seconds = wire.ORDER.unpack(message)
        if serial != self._serial:
            return False  # meant for a child that has ended meanwhile
        if order == wire.KILL:
            self._reason = wire.REASON_KILLED
            self._kill()
            return True
        if order == wire.STOP_GENTLY:
            self._reason = wire.REASON_KILLED
            self._interrupt()
            self._deadline = time.monotonic() + _GENTLE_SECONDS
        elif order == wire.INTERRUPT:
            self._interrupt()
            wire.send(self._control, wire.INTERRUPTED)
        elif order == wire.WATCH_CPU:
            self._allowance = seconds
        return False

    def _interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGINT)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _too_much(self, folder: str) -> bool:
        used = cpu_seconds(self._pid)
        busy, self._cpu_at_last_look = used > self._cpu_at_last_look, used
        self._pause = _FIRST_LOOK if busy else min(2 * self._pause, _LAZIEST_LOOK)
        return busy and _exceeds(folder, self._disk_bytes)


def _exceeds(folder: str, most_bytes: int) -> bool:
    """Whether the files in and below a folder take more, or are more than anyone needs."""
    size = count = 0
    folders = [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
                if size > most_bytes or count > _MOST_FILES:
                    return True
    return False


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, 0 where it is gone."""
    if pid <= 0:
        return 0.0  # the clock of nobody is that of the caller
    try:
        # The kernel's name for "the CPU clock of that process", see clock_getcpuclockid(3).
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
