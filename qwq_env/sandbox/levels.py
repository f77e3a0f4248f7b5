"""The levels of isolation, from the strongest to none, and what each layer of them gives.

What only a namespace can bound is not bounded without one: `WITHOUT_NAMESPACES` says what that
is, at level B and in the form of level C that has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from qwq_env.errors import UsageError
from qwq_env.sandbox.jail import landlock
from qwq_env.sandbox.jail.numbers import AUDIT_ARCH

Level = Literal["A", "B", "C", "D"]
LEVELS: Final[tuple[Level, ...]] = ("A", "B", "C", "D")

MEANING: Final[dict[Level, str]] = {
    "A": "namespaces, Landlock, seccomp and resource limits",
    "B": "no namespaces (a container's default): Landlock with scopes, seccomp; no new processes",
    "C": "an older kernel: namespaces without Landlock, or Landlock without scopes",
    "D": "files, signals or both lie open: refused unless allow_unsafe=True",
}

LAYERS: Final[dict[str, str]] = {
    "namespaces": "own processes, mounts, IPC, users and an empty network; all of it dies at once",
    "landlock": "files: read the interpreter and the system, write the scratch folder, no more",
    "scopes": "signals and abstract sockets stay inside (Landlock ABI 6, Linux 6.12)",
    "seccomp": "system calls from a list: no sockets, no new namespaces, no uncounted memory",
    "limits": "CPU, memory, processes, file size, descriptors; wall time and output from outside",
}

EVERYWHERE: Final = (
    "programs that run at the same time may see each other's locks on files that both may read",
    "a program can tell how many processes and files those before it in its slot have made, and "
    "how much time they took: the kernel's numbers go on",
    "CPU time of children that nobody waits for is counted by control groups; without them only "
    "what was seen of it every 10 ms, so that wall time and the count of processes bound the rest",
    "`/proc/self/mountinfo` tells where on the host's disks the interpreter and the system lie",
)
"""What is not bounded, or not hidden, at any level; all but the first are about namespaces only."""

WITHOUT_NAMESPACES: Final = (
    "disk and threads are counted while a program runs, every 20 ms: it is ended after the fact",
    "space of files that it unlinked and still holds is in no count; their number (about 60 open, "
    "more if mapped), the limit on one file (at most a quarter of disk_mb) and CPU time bound it",
    "modes, owners and times of files are not its to change: those calls do nothing",
    "whether a file of the host exists, its size and its times can be asked for; not its content",
    "programs share the count of their user's processes, and have no processes of their own",
    "`uname` tells the host's name",
)
"""What is otherwise, and what is not bounded, where no namespace surrounds a program."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to isolate: the layers that are used, and the level that they amount to."""

    level: Level
    namespaces: bool
    landlock: bool
    scoped: bool
    seccomp: bool

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers in use, as in `LAYERS`."""
        used = (
            ("namespaces", self.namespaces),
            ("landlock", self.landlock),
            ("scopes", self.scoped),
            ("seccomp", self.seccomp),
            ("limits", True),
        )
        return tuple(name for name, active in used if active)


def plans() -> tuple[Plan, ...]:
    """Return what this kernel may be able to do, strongest first; a canary must confirm it."""
    version = landlock.abi()
    filtered = bool(AUDIT_ARCH)
    scoped = version >= landlock.SCOPED_ABI
    found = []
    if filtered and version:
        found.append(Plan("A", True, True, scoped, True))
    if filtered and scoped:
        found.append(Plan("B", False, True, True, True))
    if filtered:
        found.append(Plan("C", True, False, False, True))
    if filtered and version:
        found.append(Plan("C", False, True, False, True))
    found.append(Plan("D", False, False, False, filtered))
    return tuple(found)


def check_level(name: str, field: str) -> Level:
    """Return `name` as a level; raises `UsageError` naming `field`."""
    for level in LEVELS:
        if name == level:
            return level
    raise UsageError(f"{field}: {name!r} is not a level, expected one of {', '.join(LEVELS)}")
