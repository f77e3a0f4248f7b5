"""The host's ends of the lines to a slot, and of those to one program in it.

Two sockets live as long as the slot, and no program ever holds their other ends. What a program
writes to is made for it and ends with it: whatever it sets on a pipe (locks, times, modes, flags),
or leaves in it, is gone with the pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Final

from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.stream import MOST_PER_READ, Stream

_MOST_READS: Final = 32
"""Reads per stream after which a session's writers are let go on; a full pipe takes one or two."""


class Ends:
    """Both ends of one slot's sockets. Raises OSError where no descriptors are left."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            self.jobs, self._their_jobs = _socket_pair(undo)
            self.control, self._their_control = _socket_pair(undo)
            undo.pop_all()

    def theirs(self) -> tuple[int, int]:
        """Return the slot's ends, in the order in which it puts them in place."""
        return self._their_jobs.fileno(), self._their_control.fileno()

    def let_go(self) -> None:
        """Leave the slot's ends to the slot."""
        self._their_jobs.close()
        self._their_control.close()

    def take_started(self) -> bool:
        """Whether a child has said that it took its job, where no program can take it back."""
        try:
            return self.jobs.recv(16) == wire.STARTED
        except OSError:
            return False

    @property
    def closed(self) -> bool:
        """Whether they are closed."""
        return self.control.fileno() < 0

    def close(self) -> None:
        """Close every end; idempotent."""
        self.let_go()
        self.jobs.close()
        self.control.close()


def _socket_pair(undo: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Make our end, on which nothing waits, and theirs, on which everything does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    undo.enter_context(ours)
    undo.enter_context(theirs)
    return ours, theirs


class Streams:
    """What one program writes to: stdout, stderr and, `with_report`, its report.

    Of each of the first two `limit` bytes are kept. `owner` is the user that programs run as
    where this process is another: so that they may open their streams by name, `/dev/stdout`.
    Our copies of the program's ends stay open: the end of a stream is nothing to wake up for.
    Raises OSError where no descriptors are left.
    """

    def __init__(self, limit: int, owner: int | None, with_report: bool) -> None:
        # Made for every program, so without the helpers of contextlib, which cost as much again.
        made: list[Stream] = []
        try:
            for name, most in (("stdout", limit), ("stderr", limit), ("report", MOST_PER_READ)):
                if with_report or name != "report":
                    made.append(Stream(name, most))
        except OSError:
            for stream in made:
                stream.close()
            raise
        self.all = tuple(made)
        self._printed = self.all[:2]
        self._poll: select.poll | None = None
        if owner is not None:
            try:
                for stream in self._printed:
                    os.fchown(stream.writer, owner, owner)
            except PermissionError:
                pass  # then they may not be opened by name, and that is all

    def writers(self) -> tuple[int, ...]:
        """Return the program's ends, in the order in which it puts them in place."""
        return tuple(stream.writer for stream in self.all)

    def empty(self) -> None:
        """Read until nothing is left, which a read that falls short does not tell."""
        if self._poll is None:
            self._poll = select.poll()
            for stream in self.all:
                self._poll.register(stream.reader, select.POLLIN)
        for _ in range(_MOST_READS):
            ready = dict(self._poll.poll(0))
            if not ready:
                return
            for stream in self.all:
                if stream.reader in ready:
                    stream.read()

    def take_printed(self) -> tuple[bytes, bytes, tuple[str, ...]]:
        """Return what was read of stdout and stderr, and the names of those that were cut."""
        truncated = tuple(stream.name for stream in self._printed if stream.total > stream.limit)
        stdout, stderr = (stream.take() if stream.total else b"" for stream in self._printed)
        return stdout, stderr, truncated

    def take_report(self) -> bytes:
        """Return what was read of the report."""
        return self.all[2].take() if len(self.all) > 2 else b""

    def close(self) -> None:
        """Close every end; idempotent."""
        for stream in self.all:
            stream.close()
