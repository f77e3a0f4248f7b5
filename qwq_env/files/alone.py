"""One process at a time writes in a folder: two would each take out what the other one writes."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Final

from qwq_env.errors import UsageError

LOCK: Final = ".lock"
"""The file in such a folder that is locked; it stays when the process has ended."""


class HeldFolder:
    """A folder that no other process holds while this object lives; one that dies lets go of it.

    Raises `UsageError`, which names `field`, while another process holds it. On a file system
    without locks it holds nothing.
    """

    def __init__(self, folder: Path, field: str) -> None:
        """`folder` is there already."""
        lock = folder / LOCK
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        weakref.finalize(self, os.close, descriptor)
        try:
            # Not flock: what a process forks would hold it too, and outlive a kill.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            said = os.read(descriptor, 20).decode("ascii", "replace")
            owner = f" ({said})" if said.isdecimal() else ""
            raise UsageError(
                f"{field}: {folder} is in use by another process{owner}; wait for it, end it, or"
                " name another folder"
            ) from None
        except OSError:
            return
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
