"""qwq bench sandbox [--json] [--out FILE] [--seconds S] [--no-peers]

The sandbox against the ways others run a model's Python, in one run on the same machine:
`subprocess.run([python, "-c", ...])`, the python tools of GEM and SkyRL-Gym, ipykernel, and
smolagents' interpreter, each peer in a virtual environment of its own (made at the first run,
under the cache folder). Quote the ratios: the times are the machine's.

A peer that cannot be installed or run is null, with the reason beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from _sandbox_family import descendants, field_bytes

from qwq_env.sandbox import Limits, LocalSandbox

HERE: Final = Path(__file__).resolve().parent
CALLERS: Final = 64
PLAIN: Final = "print(1)"
SYMBOLIC: Final = "import sympy\nx = sympy.Symbol('x')\nprint(sympy.diff(sympy.sin(x) * x**2, x))"
SESSIONS: Final = 64
MEMORY_SESSIONS: Final = 50

PEERS: Final = {
    "gem": ("gem-llm==0.1.0",),
    "skyrl_gym": ("skyrl-gym==0.4.0",),
    "ipykernel": ("ipykernel", "jupyter_client"),
    "smolagents": ("smolagents",),
}
"""name → what pip installs (and sympy, so that each can run the symbolic snippet)."""

Work = Callable[[], Awaitable[Any]]


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie, in milliseconds."""
    ordered = sorted(values)
    return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


async def one_by_one(work: Work, seconds: float) -> list[float]:
    """Seconds that each of many executions took, one after another."""
    taken = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return taken


async def together(works: list[Work], seconds: float) -> tuple[float, list[float]]:
    """Executions per second of many callers, and the seconds that each execution took."""
    taken: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def caller(work: Work) -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await work()
            taken.append(time.perf_counter() - start)

    await asyncio.gather(*(caller(work) for work in works))
    return len(taken) / (time.perf_counter() - began), taken


async def oneshots(
    name: str, preload: tuple[str, ...], code: str, seconds: float
) -> dict[str, Any]:
    """One-shots: alone, and from 64 callers."""
    async with LocalSandbox(preload=preload) as sandbox:

        async def work() -> None:
            result = await sandbox.run(code)
            if result.status != "ok":
                raise RuntimeError(f"an honest program ended as {result}")

        await together([work] * 4, seconds / 8)
        alone = await one_by_one(work, seconds / 2)
        cpu = time.process_time()
        rate, taken = await together([work] * CALLERS, seconds)
        cpu = time.process_time() - cpu
        return {
            f"{name}_p50_ms": percentile(alone, 0.5),
            f"{name}_p99_ms": percentile(alone, 0.99),
            f"{name}_per_s": round(rate, 1),
            f"{name}_64_callers_p99_ms": percentile(taken, 0.99),
            f"{name}_64_callers_p99_bound_ms": round(3e3 * CALLERS / rate, 1),
            f"{name}_host_cpu_ms": round(1e3 * cpu / len(taken), 3),
            "level": sandbox.level,
        }


async def overshoot() -> dict[str, Any]:
    """By how much a busy loop outlives its deadline."""
    limits = Limits(wall_seconds=0.5)
    over = []
    async with LocalSandbox(preload=()) as sandbox:
        await sandbox.start()
        for _ in range(10):
            began = time.perf_counter()
            await sandbox.run("while True: pass", limits=limits)
            over.append(time.perf_counter() - began - limits.wall_seconds)
    return {"timeout_overshoot_ms": round(1e3 * max(over), 1)}


async def sessions(seconds: float) -> dict[str, Any]:
    """Steps of one session, of many at once, and what a session costs in memory."""
    async with LocalSandbox(slots=1) as sandbox:
        opened = [await sandbox.open_session() for _ in range(SESSIONS)]

        def stepper(session: Any) -> Work:
            async def work() -> None:
                result = await session.run("x = 1\nx + 1")
                if result.value != "2":
                    raise RuntimeError(f"a step ended as {result}")

            return work

        works = [stepper(session) for session in opened]
        await together(works, seconds / 8)
        alone = await one_by_one(works[0], seconds / 2)
        rate, taken = await together(works, seconds)
        for session in opened:
            await session.aclose()
        return {
            "session_step_p50_ms": percentile(alone, 0.5),
            "session_step_p99_ms": percentile(alone, 0.99),
            "session_steps_per_s": round(rate, 1),
            "session_64_callers_p99_ms": percentile(taken, 0.99),
            "session_bytes": await session_bytes(sandbox),
        }


async def session_bytes(sandbox: LocalSandbox) -> int:
    """What one more session takes: the share of each page (PSS) and the page tables."""
    warm = await sandbox.open_session()
    await warm.run("x = 1\nx + 1")
    before = family_bytes(sandbox)
    opened = [await sandbox.open_session() for _ in range(MEMORY_SESSIONS)]
    for session in opened:
        await session.run("x = 1\nx + 1")
    after = family_bytes(sandbox)
    for session in [warm, *opened]:
        await session.aclose()
    return round((after - before) / MEMORY_SESSIONS)


def family_bytes(sandbox: LocalSandbox) -> int:
    """The memory of the fork server and all below it (readable as root only)."""
    if sandbox.server_pid is None:
        return 0
    total = 0
    for pid in [sandbox.server_pid, *descendants(sandbox.server_pid)]:
        with contextlib.suppress(OSError):
            total += field_bytes(pid, "smaps_rollup", "Pss")
            total += field_bytes(pid, "status", "VmPTE")
    return total


async def bare_subprocess(code: str, seconds: float) -> float:
    """What most codebases do: an interpreter per program, as many at a time as there are cores."""
    gate = asyncio.Semaphore(len(os.sched_getaffinity(0)) + 1)

    async def work() -> None:
        async with gate:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            await process.communicate()

    rate, _ = await together([work] * 8, seconds)
    return round(rate, 1)


def peer(name: str, packages: tuple[str, ...], seconds: float) -> dict[str, Any]:
    """Measure one peer in its own environment; null and the reason where that fails."""
    keys = (f"{name}_per_s", f"{name}_sympy_per_s")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "qwq-env" / "bench" / name
    python = folder / "bin" / "python"
    try:
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pinned = ["-c", str(HERE.parent / "constraints.txt")]
            install = [str(python), "-m", "pip", "install", "-q", *pinned, *packages, "sympy"]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=900)
            (folder / "ready").touch()
        done = subprocess.run(
            [str(python), str(HERE / "_sandbox_peers.py"), name, PLAIN, SYMBOLIC, str(seconds)],
            capture_output=True,
            text=True,
            timeout=300 + 10 * seconds,
        )
        rates = json.loads(done.stdout.splitlines()[-1])
        return dict(zip(keys, rates, strict=True))
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        reason = said.strip().splitlines()[-1][:300] if said.strip() else type(error).__name__
        return {keys[0]: None, keys[1]: None, f"{name}_reason": reason}


async def measure(seconds: float, with_peers: bool) -> dict[str, Any]:
    """Every figure, in one run."""
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        # Above the number of cores the figures below are those of a crowded machine.
        "load_at_start": round(os.getloadavg()[0], 1),
    }
    report |= await oneshots("oneshot_sympy", ("numpy", "sympy"), PLAIN, seconds)
    report |= await oneshots("oneshot_sympy_used", ("numpy", "sympy"), SYMBOLIC, seconds)
    report |= await oneshots("oneshot_bare", (), PLAIN, seconds)
    report |= await sessions(seconds)
    report |= await overshoot()
    report["subprocess_per_s"] = await bare_subprocess(PLAIN, seconds)
    report["subprocess_sympy_per_s"] = await bare_subprocess(SYMBOLIC, seconds)
    report["ratio_to_subprocess"] = ratio(report["oneshot_bare_per_s"], report["subprocess_per_s"])
    report["ratio_to_subprocess_sympy"] = ratio(
        report["oneshot_sympy_used_per_s"], report["subprocess_sympy_per_s"]
    )
    if with_peers:
        for name, packages in PEERS.items():
            report |= await asyncio.to_thread(peer, name, packages, seconds)
    return report


def ratio(ours: float, theirs: float) -> float:
    """How many times as fast, to one decimal."""
    return round(ours / theirs, 1)


def main(argv: list[str]) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, prog="qwq bench sandbox")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--out", type=Path, help="write the JSON there")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--no-peers", action="store_true", help="measure ourselves only")
    arguments = parser.parse_args(argv)
    report = asyncio.run(measure(arguments.seconds, not arguments.no_peers))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:36} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
