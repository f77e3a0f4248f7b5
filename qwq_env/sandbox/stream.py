"""How bytes cross the wall: a pipe for what a program writes, a sealed file for what it reads."""

from __future__ import annotations

import fcntl
import os
from typing import Final

MOST_PER_READ: Final = 1 << 16

_ADD_SEALS: Final = 1033
_ALL_SEALS: Final = 15


class Stream:
    """One pipe from the program: keeps the first `limit` bytes, counts and drops the rest."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        self.kept = bytearray()
        self.total = 0

    def read(self) -> None:
        """Read one piece of what is there, so that a flood cannot hold the event loop."""
        try:
            chunk = os.read(self.reader, MOST_PER_READ)
        except BlockingIOError:
            return
        self.total += len(chunk)
        if len(self.kept) < self.limit:
            self.kept += chunk[: self.limit - len(self.kept)]

    def take(self) -> bytes:
        """Return what was kept, and begin anew."""
        kept, self.kept, self.total = bytes(self.kept), bytearray(), 0
        return kept

    def close(self) -> None:
        """Close both ends; idempotent."""
        if self.reader >= 0:
            os.close(self.reader)
            os.close(self.writer)
            self.reader = self.writer = -1


def sealed_file(content: bytes) -> int:
    """Return a memory file that nobody can change any more."""
    descriptor = os.memfd_create("content", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
