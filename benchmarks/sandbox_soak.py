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
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from qwq_env.sandbox import Limits, LocalSandbox, SandboxUnavailable

SHORT: Final = Limits(cpu_seconds=0.3, wall_seconds=0.6, memory_mb=128)
PATIENT: Final = Limits(cpu_seconds=20, wall_seconds=60)
MOST_GROWTH: Final = 32 << 20
"""Bytes that the memory of host and sandbox may wander between the first fifth and the end."""

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
                await session.run("while True: total = total", wall_seconds=0.1)
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


def resident_bytes(pids: list[int]) -> int:
    """The memory that belongs to those processes, shared pages divided (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def belongings() -> dict[str, int]:
    """What this process holds that could leak."""
    gc.collect()
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "scratch_folders": len(list(Path(tempfile.gettempdir()).glob("qwq-sandbox-*"))),
    }


async def settled_bytes(sandbox: LocalSandbox) -> int:
    """Host and sandbox memory, seen when the slots are fresh and nothing runs."""
    await asyncio.gather(*(sandbox.run("1") for _ in range(4 * sandbox.slots)))
    await asyncio.sleep(0.5)
    gc.collect()
    return resident_bytes([os.getpid(), *descendants(os.getpid())])


async def soak(seconds: float, callers: int) -> dict[str, Any]:
    """Run it; the first fifth warms up, and memory is compared from there to the end."""
    before = belongings()
    began = time.monotonic()
    async with LocalSandbox(require="C") as sandbox:
        await sandbox.start()
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        memory = []
        for part in (0.2, 0.8):
            stage = Soak(sandbox, time.monotonic() + seconds * part)
            await asyncio.gather(*(stage.caller(seed) for seed in range(callers)))
            counts += stage.done
            wrong += stage.wrong
            memory.append(await settled_bytes(sandbox))
        level, slots = sandbox.level, sandbox.slots
        processes = len(descendants(os.getpid())) - (2 + 2 * slots)
    await asyncio.sleep(0.2)
    after = belongings()
    return {
        "level": level,
        "seconds": round(time.monotonic() - began, 1),
        "callers": callers,
        "executions": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "wrong": len(wrong),
        "wrong_first": wrong[:5],
        "processes_leaked": max(0, processes) + len(descendants(os.getpid())),
        **{f"{name}_leaked": after[name] - before[name] for name in before},
        "memory_bytes": memory,
        "memory_growth_bytes": memory[1] - memory[0],
    }


def failed(report: dict[str, Any]) -> list[str]:
    """The names of what is wrong."""
    zero = ["wrong", *(name for name in report if name.endswith("_leaked"))]
    found = [name for name in zero if report[name] > 0]
    if report["memory_growth_bytes"] > MOST_GROWTH:
        found.append("memory_growth_bytes")
    return found


def main(argv: list[str]) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, prog="qwq bench sandbox_soak")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON there")
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--callers", type=int, default=64)
    arguments = parser.parse_args(argv)
    report = asyncio.run(soak(arguments.seconds, arguments.callers))
    report["failed"] = failed(report)
    text = json.dumps(report, indent=None if arguments.json else 1)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(text)
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
