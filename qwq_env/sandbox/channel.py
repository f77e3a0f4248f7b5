"""The host's end of the line to a session or to a solution: frames, one question at a time."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import Final

from qwq_env.sandbox.errors import SandboxUnavailable
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.jail.linger import linger

_CHUNK: Final = 1 << 16
_MOST_READS: Final = 2048
_MOST_FRAMES: Final = 64
"""Reads and frames after one question: several times what the longest answer takes. A program
that writes on without being asked would keep the host busy for as long as its session lives."""
_CREDENTIALS: Final = struct.Struct("=3i")


class Channel:
    """Frames over a socket pair; `on_frame` gets each answer, `on_end` the end or a violation.

    The other end belongs to a hostile program: a frame that announces more than `most_bytes`, or
    much more than an answer, ends the channel. Raises `SandboxUnavailable` where this process has
    no descriptors left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[bytearray], None],
        on_end: Callable[[], None],
        most_bytes: int,
    ) -> None:
        self._loop = loop
        self._on_frame = on_frame
        self._on_end = on_end
        self._most_bytes = most_bytes
        try:
            self._socket, self.theirs = socket.socketpair()
        except OSError as error:
            raise SandboxUnavailable(f"sandbox: no line to a program: {error}") from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.peer_pid = 0
        self._buffer = bytearray()
        self._unsent = memoryview(b"")
        self._closed = False
        self._reads = self._frames = 0
        self._heard = select.poll()
        self._heard.register(self._socket, select.POLLIN)
        loop.add_reader(self._socket.fileno(), self._read)

    def send(self, payload: bytes) -> None:
        """Send one frame; what does not fit at once follows as the other end reads."""
        self._reads = self._frames = 0
        frame = wire.FRAME.pack(len(payload)) + payload
        if not self._unsent:
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._end()
                return
            if sent == len(frame):
                return
            self._unsent = memoryview(frame)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._flush)
        else:
            self._unsent = memoryview(bytes(self._unsent) + frame)

    def look_out(self, seconds: float) -> None:
        """Read what comes within `seconds` here and now, while the event loop stands still."""
        if not self._closed and linger(self._heard, seconds):
            self._read()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK) if self.peer_pid else self._first()
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._reads += 1
        if not chunk or self._reads > _MOST_READS:
            self._end()
            return
        buffer = self._buffer
        buffer += chunk
        while len(buffer) >= wire.FRAME.size and not self._closed:
            (length,) = wire.FRAME.unpack_from(buffer)
            if length > self._most_bytes:
                self._end()
                return
            end = wire.FRAME.size + length
            if len(buffer) < end:
                return
            self._frames += 1
            if self._frames > _MOST_FRAMES:
                self._end()
                return
            # What follows an answer was not asked for: as a rule the buffer is the frame.
            self._buffer = buffer[end:]
            del buffer[end:], buffer[: wire.FRAME.size]
            frame, buffer = buffer, self._buffer
            self._on_frame(frame)

    def _first(self) -> bytes:
        """Read the first words, with which the kernel tells the speaker's process id."""
        chunk, ancillary, _, _ = self._socket.recvmsg(_CHUNK, socket.CMSG_SPACE(12))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                self.peer_pid = _CREDENTIALS.unpack(data)[0]
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        return chunk

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._on_end()

    def close(self) -> None:
        """Hang up; idempotent. `on_end` is not called."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            self.theirs.close()
