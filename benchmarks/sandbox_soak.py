"""qwq bench sandbox_soak [--json] [--out FILE] [--seconds S] [--callers N]

Honest and hostile programs, mixed, from many callers, for half an hour: counts wrong answers,
and what is left afterwards of processes, descriptors, mounts, files and memory. Returns 1 if
anything is wrong or left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from _result import run
from _sandbox_family import descendants, own_bytes

from qwq_env.sandbox import Limits, LocalSandbox, SandboxUnavailable

SHORT: Final = Limits(cpu_seconds=0.3, wall_seconds=0.6, memory_mb=128)
PATIENT: Final = Limits(cpu_seconds=20, wall_seconds=60)
MOST_GROWTH: Final = 32 << 20
"""Bytes by which this process, and any one of the sandbox's, may have grown since the warm-up."""

AGREEMENT: Final = 1 << 20
"""Bytes within which two readings of memory at rest are the same."""

SETTLING_SECONDS: Final = 60.0

HOSTILE: Final = (
    "while True: pass",
    "import time; time.sleep(60)",
    "x = []\nwhile True: x.append(bytearray(10_000_000))",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
    "import os\nfor _ in range(100): os.fork()",
    "import os, signal\nfor p in (1, os.getppid(), -1): os.kill(p, signal.SIGKILL)",
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)",
    "import ctypes; ctypes.string_at(0)",
    "import os\nfor i in range(500): open(f'f{i}', 'w').write('x' * 100)",
    "import os\nos.mkdir('d')\nos.chmod('d', 0)\nos.chmod('.', 0)",
    "import os\nfor fd in (3, 4, 5, 6):\n    try: os.write(fd, b'[' * 9)\n    except OSError: pass",
    "import threading, time\nfor _ in range(999): "
    "threading.Thread(target=time.sleep, args=(9,)).start()",
    "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "import os, fcntl\nfcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)\nos._exit(0)",
)


class Soak:
    """The callers, and what they have counted."""

    def __init__(self, sandbox: LocalSandbox, end: float) -> None:
        self.sandbox = sandbox
        self.end = end
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def check(self, what: str, got: object, expected: object) -> None:
        """Count one honest execution."""
        self.done[what] += 1
        if got != expected:
            self.wrong.append(f"{what}: got {got!r}, expected {expected!r}"[:500])

    async def program(self, dice: random.Random) -> None:
        """A program whose output is known."""
        a, b = dice.randrange(10**6), dice.randrange(10**6)
        result = await self.sandbox.run(
            f"import sys\nprint({a} * {b}, sys.stdin.read())", stdin=b"%d" % a, limits=PATIENT
        )
        self.check("programs", result.stdout, f"{a * b} {a}\n")

    async def symbolic(self, dice: random.Random) -> None:
        """A program that needs sympy."""
        n = dice.randrange(2, 9)
        code = f"import sympy\nx = sympy.Symbol('x')\nsympy.diff(x**{n}, x)"
        result = await self.sandbox.run(code, limits=PATIENT)
        power = "x" if n == 2 else f"x**{n - 1}"
        self.check("symbolic programs", result.value, f"{n}*{power}")

    async def files(self, dice: random.Random) -> None:
        """A program that writes, and must find an empty folder."""
        code = "import os\nprint(os.listdir('.'))\nopen('f', 'w').write('x')"
        result = await self.sandbox.run(code, limits=PATIENT)
        self.check("programs with files", result.stdout, "[]\n")

    async def calls(self, dice: random.Random) -> None:
        """A solution, of whose calls one ends its process."""
        code = "import os\ndef f(x):\n    if x == 0: os._exit(0)\n    return [x, (x,)]"
        results = await self.sandbox.call(code, "f", [[1], [0], [2]], limits=PATIENT)
        values = [(result.status, result.value) for result in results]
        expected = [("ok", [1, (1,)]), ("error", None), ("ok", [2, (2,)])]
        self.check("solutions", values, expected)

    async def session(self, dice: random.Random) -> None:
        """A session that is interrupted once and keeps its state."""
        async with await self.sandbox.open_session(limits=PATIENT) as session:
            total = 0
            await session.run("total = 0")
            for _ in range(20):
                n = dice.randrange(100)
                total += n
                result = await session.run(f"total += {n}\ntotal")
                self.check("session steps", result.value, str(total))
            if dice.random() < 0.2:
                result = await session.run("while True: total = total", wall_seconds=0.1)
                if result.state_lost:
                    # It says so itself: on a crowded machine the interrupt may come too late.
                    self.done["interrupts that cost the state"] += 1
                    return
                self.check("interrupts", (await session.run("total")).value, str(total))

    async def hostile(self, dice: random.Random) -> None:
        """A program that means harm; how it ends is its own affair."""
        result = await self.sandbox.run(dice.choice(HOSTILE), limits=SHORT)
        self.done[f"hostile programs: {result.status}"] += 1

    async def caller(self, seed: int) -> None:
        """One caller, until the time is up."""
        dice = random.Random(seed)
        kinds: list[Callable[[random.Random], Awaitable[None]]] = [
            *[self.program] * 8,
            *[self.symbolic, self.files, self.calls, self.session] * 2,
            *[self.hostile] * 4,
        ]
        while time.monotonic() < self.end:
            try:
                await dice.choice(kinds)(dice)
            except SandboxUnavailable as error:
                self.wrong.append(f"infrastructure: {error}")


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Have temporary files made where no other program makes any, so that ours can be counted."""
    with tempfile.TemporaryDirectory(prefix="qwq-soak-") as folder:
        Path(folder).chmod(0o711)  # the sandbox's unprivileged user goes through it
        usual, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            tempfile.tempdir = usual


def belongings() -> dict[str, int]:
    """What this process holds that could leak."""
    gc.collect()
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "scratch_folders": len(list(Path(tempfile.gettempdir()).glob("qwq-sandbox-*"))),
    }


class Memory(NamedTuple):
    """One reading of the sandbox at rest, in bytes of memory that is not a file's."""

    host: int
    """This process."""
    process: int
    """The largest process of the sandbox."""
    family: int
    """All processes of the sandbox; what they share counts for each."""
    processes: int
    """How many those are."""

    def like(self, other: Memory) -> bool:
        """Whether nothing was moving between the two readings."""
        return self.processes == other.processes and all(
            abs(mine - theirs) < AGREEMENT for mine, theirs in zip(self[:3], other[:3], strict=True)
        )


def read_memory() -> Memory:
    """Look once; a process that ends meanwhile is left out."""
    gc.collect()
    sizes = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            sizes.append(own_bytes(pid))
    return Memory(own_bytes(os.getpid()), max(sizes, default=0), sum(sizes), len(sizes))


async def settled(sandbox: LocalSandbox) -> Memory:
    """Memory when the slots are fresh, all of them are there, and nothing runs.

    A slot that the last program spoilt is replaced in the background, and what it left takes its
    time to die; neither is growth. So this looks until two readings agree and every process is
    one that belongs there, and gives up only when that does not come: then something has leaked.
    """
    await asyncio.gather(*(sandbox.run("1") for _ in range(4 * sandbox.slots)))
    end = time.monotonic() + SETTLING_SECONDS
    before = read_memory()
    while True:
        await asyncio.sleep(0.5)
        now = read_memory()
        if now.processes == expected_processes(sandbox) and now.like(before):
            return now
        if time.monotonic() > end:
            return now
        before = now


def expected_processes(sandbox: LocalSandbox) -> int:
    """The launcher, the fork server, and each slot with the child that waits in it."""
    return 2 + 2 * sandbox.slots


async def outliving(pids: list[int]) -> int:
    """How many of these processes do not end."""
    end = time.monotonic() + SETTLING_SECONDS
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > end:
            break
        await asyncio.sleep(0.1)
    return len(alive)


async def soak(seconds: float, callers: int) -> dict[str, Any]:
    """Run it; the first fifth warms up, and memory is compared from there to the end."""
    before = belongings()
    began = time.monotonic()
    async with LocalSandbox(require="C") as sandbox:
        await sandbox.start()
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        readings = []
        for part in (0.2, 0.8):
            stage = Soak(sandbox, time.monotonic() + seconds * part)
            await asyncio.gather(*(stage.caller(seed) for seed in range(callers)))
            counts += stage.done
            wrong += stage.wrong
            readings.append(await settled(sandbox))
        level = sandbox.level
        too_many = max(0, readings[-1].processes - expected_processes(sandbox))
        family = descendants(os.getpid())
    early, late = readings
    left = await outliving(family)
    after = belongings()
    return {
        "level": level,
        "seconds": round(time.monotonic() - began, 1),
        "callers": callers,
        "executions": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "wrong": len(wrong),
        "wrong_first": wrong[:5],
        "processes_leaked": too_many + left,
        **{f"{name}_leaked": after[name] - before[name] for name in before},
        "memory_bytes": [reading._asdict() for reading in readings],
        "host_growth_bytes": late.host - early.host,
        "sandbox_process_growth_bytes": late.process - early.process,
        "sandbox_family_growth_bytes": late.family - early.family,
    }


def failed(report: dict[str, Any]) -> list[str]:
    """The names of what is wrong."""
    zero = ["wrong", *(name for name in report if name.endswith("_leaked"))]
    found = [name for name in zero if report[name] > 0]
    grown = ("host_growth_bytes", "sandbox_process_growth_bytes")
    return found + [name for name in grown if report[name] > MOST_GROWTH]


def main(argv: list[str]) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, prog="qwq bench sandbox_soak")
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--callers", type=int, default=64)
    return 1 if run(parser, argv, measure)["failed"] else 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the soak came to, and which of its promises failed."""
    with own_temporary_folder():
        report = asyncio.run(soak(options.seconds, options.callers))
    return {**report, "failed": failed(report)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
