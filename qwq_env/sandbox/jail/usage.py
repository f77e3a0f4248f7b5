"""What a child uses, counted from outside while it runs: CPU time, threads, disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import time
from typing import Final

LONE_PROCESSES: Final = 2048
"""The soft limit on processes of a child without a user namespace, which shares its count with
all of its user's processes; by how much its hard limit is higher is what it may have itself."""

_MOST_FILES: Final = 4096
_DEEPEST: Final = 32
_LOOK: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK: Final = 512
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_OF_TASK: Final = 2
"""The links of a folder that holds none."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, 0 where it is gone."""
    if pid <= 0:
        return 0.0  # the clock of nobody is that of the caller
    try:
        # The kernel's name for "the CPU clock of that process", see clock_getcpuclockid(3).
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


class Meter:
    """The CPU time of a child and of all it starts, in a pid namespace that is theirs.

    Exact for what lives and for what was waited for; of what vanished otherwise (whose parent
    ignores the end of its children) it knows what it had seen at the last look. Without `others`
    the child alone is counted: where it stands alone, or `/proc` cannot be had.
    """

    def __init__(self, pid: int, others: bool) -> None:
        self._pid = pid
        self._others = others
        self._seen: dict[str, float] = {}
        self._vanished = 0.0
        self.living = 0
        """How many others lived at the last look."""
        self.churns = False
        """Whether some have vanished since the look before."""

    def cpu_seconds(self) -> float:
        """Look, and return the CPU seconds used so far: never too many."""
        if not self._others:
            return cpu_seconds(self._pid)
        seen: dict[str, float] = {}
        own, waited_for = cpu_seconds(self._pid), 0.0
        for name in _processes():
            spent = _waited_for(name)
            waited_for += spent
            if int(name) != self._pid:
                used = cpu_seconds(int(name))
                own += used
                seen[name] = used + spent
        gone = sum(used for name, used in self._seen.items() if used > seen.get(name, 0.0))
        self._vanished += gone
        self.churns = any(name not in seen for name in self._seen)
        self._seen, self.living = seen, len(seen)
        return own + max(waited_for, self._vanished)


def _processes() -> list[str]:
    """The processes of this namespace but the first, which is the slot."""
    with contextlib.suppress(OSError):
        names = os.listdir("/proc")  # noqa: PTH208
        return [name for name in names if name.isdigit() and name != "1"]
    return []


def _waited_for(name: str) -> float:
    """The CPU seconds of the children that a process has waited for."""
    with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
        user, system = file.read().rpartition(b")")[2].split()[13:15]
        return (int(user) + int(system)) * _TICK
    return 0.0


def has_too_many_threads(pid: int) -> bool:
    """Whether a child without a user namespace has more threads than its limit allows."""
    try:
        # A folder that may not be listed still tells how many there are in it.
        threads = os.stat(f"/proc/{pid}/task").st_nlink - _OF_TASK  # noqa: PTH116
        allowed = resource.prlimit(pid, resource.RLIMIT_NPROC)[1] - LONE_PROCESSES
    except OSError:
        return False  # it has ended
    return 0 < allowed < threads


class DiskCount:
    """A count of the files in and below a folder that a program may change meanwhile."""

    def __init__(self, most_bytes: int) -> None:
        self._bytes_left = most_bytes
        self._entries_left = _MOST_FILES

    def is_exceeded(self, folder: str) -> bool:
        """Whether the files take more, or are more than anyone needs.

        So is a tree deeper than anyone needs, and a folder that cannot be listed: no program
        makes one but to hide what is in it.
        """
        return self._exceeded_below(folder, None, 0)

    def _exceeded_below(self, name: str, parent: int | None, depth: int) -> bool:
        if depth > _DEEPEST:
            return True
        try:
            # Step by step: a path would end at 4096 bytes, and could be another's by now.
            folder = os.open(name, _LOOK, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return False  # it is gone
        except OSError:
            return True
        try:
            # Read first: to list a folder takes a second descriptor, of which there are few.
            with os.scandir(folder) as listing:
                entries = list(itertools.islice(listing, _MOST_FILES + 1))
            return any(self._exceeded_by(entry, folder, depth) for entry in entries)
        except OSError:
            return True
        finally:
            os.close(folder)

    def _exceeded_by(self, entry: os.DirEntry[str], parent: int, depth: int) -> bool:
        self._entries_left -= 1
        if entry.is_dir(follow_symlinks=False):
            return self._exceeded_below(entry.name, parent, depth + 1)
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            self._bytes_left -= max(status.st_size, status.st_blocks * _BLOCK)
        return self._bytes_left < 0 or self._entries_left < 0
