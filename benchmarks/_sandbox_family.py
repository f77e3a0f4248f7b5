"""The processes below one process, and the memory that is theirs."""

from __future__ import annotations

import contextlib
from pathlib import Path


def descendants(root: int) -> list[int]:
    """All processes below `root`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found: list[int] = []
    frontier = [root]
    while frontier:
        frontier = [pid for pid, parent in parents.items() if parent in frontier]
        found += frontier
    return found


def field_bytes(pid: int, file: str, *names: str) -> int:
    """The sum of those fields, given in kB, of a file of `/proc/PID`; OSError where it is gone."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(fields[name].split()[0]) << 10 for name in names if name in fields)


def own_bytes(pid: int) -> int:
    """What a process holds in memory that is not a file's.

    Pages shared with a process that it was forked from count in full, so the figure depends on
    nothing but the process itself; it may be read of another user's process too.
    """
    return field_bytes(pid, "status", "RssAnon", "RssShmem")
