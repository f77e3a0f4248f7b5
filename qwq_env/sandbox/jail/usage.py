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


def cpu_seconds_of_others(pid: int) -> tuple[float, int]:
    """Return what all others than `pid` in this pid namespace have used, and how many they are.

    With that of children that `pid` and the others have waited for, but without that of this
    process, the first of the namespace. Nothing where `/proc` cannot be had.
    """
    ticks, count = 0, 0
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = os.listdir("/proc")  # noqa: PTH208
    for name in names:
        if not name.isdigit() or name == "1":
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            user, system, *waited_for = file.read().rpartition(b")")[2].split()[11:15]
            ticks += sum(map(int, waited_for))
            if int(name) != pid:
                ticks += int(user) + int(system)
                count += 1
    return ticks * _TICK, count


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
