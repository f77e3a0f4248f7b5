"""The host's ends of the lines to a slot: two sockets, and a pipe for each stream of a program.

They are made all or none, and emptied after each program to the last byte: what one leaves in
them would be read as the next one's.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Final

from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.stream import MOST_PER_READ, Stream

_MOST_READS: Final = 32
"""Reads per stream after which a session's writers are let go on; a full pipe takes one or two."""


class Ends:
    """The ends of one slot's lines. Raises OSError where this process has no descriptors left."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            self.jobs, self._their_jobs = _socket_pair(undo)
            self.control, self._their_control = _socket_pair(undo)
            self.printed = tuple(undo.enter_context(Stream(name)) for name in ("stdout", "stderr"))
            self._report = undo.enter_context(Stream("report"))
            undo.pop_all()
        self._streams = {stream.reader: stream for stream in (*self.printed, self._report)}
        self._written = select.poll()
        for descriptor in self._streams:
            self._written.register(descriptor, select.POLLIN)

    def theirs(self) -> tuple[int, ...]:
        """Return the slot's ends, in the order in which it puts them in place."""
        writers = (stream.writer for stream in (*self.printed, self._report))
        return (self._their_jobs.fileno(), self._their_control.fileno(), *writers)

    def let_go(self) -> None:
        """Leave the slot's ends to the slot."""
        self._their_jobs.close()
        self._their_control.close()
        for stream in self._streams.values():
            stream.close_writer()

    def empty(self, limit: int) -> bool:
        """Read until nothing is left, which a read that falls short does not tell; whether so.

        Of what is printed `limit` bytes are kept of each stream.
        """
        for _ in range(_MOST_READS):
            ready = self._written.poll(0)
            if not ready:
                return True
            for descriptor, _ in ready:
                stream = self._streams[descriptor]
                stream.read(MOST_PER_READ if stream is self._report else limit)
        return False

    def take_printed(self, limit: int) -> tuple[bytes, bytes, tuple[str, ...]]:
        """Return what was read of stdout and stderr, and the names of those that were cut."""
        truncated = tuple(stream.name for stream in self.printed if stream.total > limit)
        stdout, stderr = (stream.take() if stream.total else b"" for stream in self.printed)
        return stdout, stderr, truncated

    def take_report(self) -> bytes:
        """Return what was read of the report."""
        return self._report.take()

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
        for stream in self._streams.values():
            stream.close()


def _socket_pair(undo: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Make our end, on which nothing waits, and theirs, on which everything does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    undo.enter_context(ours)
    undo.enter_context(theirs)
    return ours, theirs
