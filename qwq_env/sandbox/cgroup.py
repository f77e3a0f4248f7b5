"""Control groups, where this process may make them: limits on what many processes use together.

Without them the limits hold for each process on its own, so that a program of 32 processes may use
32 times its memory. A control group counts them together. Version 1 (memory, pids and, where it
is there, cpuacct, as root) and version 2 (a delegated group) are known; where neither can be had,
nothing is lost but this.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_IMAGE_BYTES: Final = 192 << 20
"""Allowance for what the slot itself holds: its copy of the warm image."""


@dataclass(slots=True)
class Cgroup:
    """The group of one slot: one folder per controller, or one for all."""

    memory: Path
    pids: Path
    cpu: Path | None
    version: int
    kills_seen: int = 0
    limits: tuple[int, int] = field(default=(0, 0))
    usage: int = -1
    """The open counter of CPU time, which every program that lasts is asked for."""
    kills: int = -1
    """The open counter of kills for memory, which is read at each program's beginning."""
    told: bytes = b""
    """What it said last, which as a rule it says again."""

    def folders(self) -> set[Path]:
        """Return its folders, each once."""
        return {self.memory, self.pids} | ({self.cpu} if self.cpu is not None else set())

    def cpu_seconds(self) -> float | None:
        """Return the CPU seconds of all that ever was in it; None where nobody counts them."""
        if self.cpu is None:
            return None
        try:
            if self.usage < 0:
                name = "cpuacct.usage" if self.version == 1 else "cpu.stat"
                self.usage = os.open(self.cpu / name, os.O_RDONLY | os.O_CLOEXEC)
            counts = os.pread(self.usage, 4096, 0).split()
            return int(counts[0]) / 1e9 if self.version == 1 else int(counts[1]) / 1e6
        except (OSError, ValueError, IndexError):
            return None

    def close(self) -> None:
        """Close its counters."""
        for counter in (self.usage, self.kills):
            if counter >= 0:
                os.close(counter)
        self.usage = self.kills = -1

    def adopt(self, pid: int) -> None:
        """Move a process (and all it forks from now on) into the group; raises OSError."""
        for folder in self.folders():
            (folder / "cgroup.procs").write_text(str(pid))

    def limit(self, memory_mb: int, processes: int) -> None:
        """Set the limits, where they differ from the last ones; raises OSError."""
        if (memory_mb, processes) == self.limits:
            return
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        (self.memory / name).write_text(str((memory_mb << 20) + _IMAGE_BYTES))
        (self.pids / "pids.max").write_text(str(processes + 4))
        self.limits = (memory_mb, processes)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed for memory in here since the last question."""
        kills = self.kills_seen
        with contextlib.suppress(OSError):
            if self.kills < 0:
                name = "memory.oom_control" if self.version == 1 else "memory.events"
                self.kills = os.open(self.memory / name, os.O_RDONLY | os.O_CLOEXEC)
            told = os.pread(self.kills, 4096, 0)
            if told == self.told:
                return False
            self.told = told
            for line in told.splitlines():
                key, _, count = line.partition(b" ")
                if key == b"oom_kill":
                    kills = int(count)
        grown, self.kills_seen = kills > self.kills_seen, kills
        return grown


class CgroupTree:
    """The groups of one sandbox; they are reused from slot to slot."""

    def __init__(self, memory: Path, pids: Path, cpu: Path | None, version: int) -> None:
        self.version = version
        self._memory, self._pids, self._cpu = memory, pids, cpu
        self._free: list[Cgroup] = []
        self._made: list[Cgroup] = []

    @classmethod
    def create(cls) -> CgroupTree | None:
        """Return a tree of our own below the group of this process, or None where we may not."""
        name = f"qwq-sandbox-{os.getpid()}-{os.urandom(3).hex()}"
        for version, find in ((2, _delegated), (1, _controllers)):
            made: list[Path] = []
            try:
                for parent in find():
                    (parent / name).mkdir()
                    made.append(parent / name)
                if made:
                    if version == 2:
                        (made[0] / "cgroup.subtree_control").write_text("+memory +pids")
                        made *= 3
                    return cls(made[0], made[1], made[2] if len(made) > 2 else None, version)
            except OSError:
                for folder in made:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
        return None

    def borrow(self) -> Cgroup:
        """Return a group that no slot is in; raises OSError."""
        for group in reversed(self._free):
            # What was in it may take its time to die.
            if not (group.pids / "cgroup.procs").read_text().strip():
                self._free.remove(group)
                return group
        number = str(len(self._made))
        cpu = self._cpu / number if self._cpu is not None else None
        group = Cgroup(self._memory / number, self._pids / number, cpu, self.version)
        for folder in group.folders():
            folder.mkdir()
        self._made.append(group)
        return group

    def give_back(self, group: Cgroup) -> None:
        """Keep the group for a later slot."""
        self._free.insert(0, group)

    def remove(self) -> bool:
        """Remove every group; False where some process is still in one."""
        for group in self._made:
            group.close()
        folders = [path for group in self._made for path in group.folders()]
        folders += {self._memory, self._pids} | ({self._cpu} if self._cpu is not None else set())
        empty = True
        for folder in folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                empty = False
        return empty


def _own_group(controller: str) -> str | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.lstrip("/")
    return None


def _controllers() -> list[Path]:
    """The version 1 groups of this process; none where one is not writable."""
    found: list[Path] = []
    for controller in ("memory", "pids", "cpuacct"):
        path = _own_group(controller)
        mount = _ROOT / controller
        if controller == "cpuacct" and (path is None or not os.access(mount, os.W_OK)):
            return found  # all is bounded without it, but CPU time counted a little less well
        if path is None:
            return []
        folder = mount / path if (mount / path).is_dir() else mount
        if not os.access(folder, os.W_OK):
            return []
        found.append(folder)
    return found


def _delegated() -> list[Path]:
    """The version 2 group of this process, where it hands on both controllers."""
    path = _own_group("")
    if path is None or not (_ROOT / "cgroup.controllers").exists():
        return []
    folder = _ROOT / path
    handed_on = (folder / "cgroup.subtree_control").read_text().split()
    if {"memory", "pids"} <= set(handed_on) and os.access(folder, os.W_OK):
        return [folder]
    return []
