"""qwq bench sandbox_server [--json] [--out FILE] [--seconds S]

What the way over HTTP costs: programs and session steps through `qwq sandbox serve`, in a process
of its own, against the same pool used directly, in turns within one run on the same machine; and
what a request costs its client, against httpx. Quote the ratios: the times are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from qwq_env.sandbox.client import RemoteSandbox
from qwq_env.sandbox.http_pool import HttpPool
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.local import LocalSandbox

CALLERS = 64
ROUNDS = 3
PROGRAM = "print(1)"
LAUNCH = "import sys; from qwq_env.cli import main; sys.exit(main())"
Work = Callable[[], Awaitable[Any]]


async def per_second(works: list[Work], seconds: float) -> float:
    """Let each caller repeat its own work for so long; returns how often all did it together."""
    end = time.perf_counter() + seconds
    done = 0

    async def caller(work: Work) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(caller, works))
    return done / (time.perf_counter() - began)


async def median_ms(work: Work, times: int = 100) -> float:
    """Milliseconds of one use by one caller."""
    durations = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1e3


async def measure_sandbox(sandbox: Sandbox, seconds: float) -> dict[str, float]:
    """Programs and session steps of one sandbox."""

    async def program() -> None:
        result = await sandbox.run(PROGRAM)
        assert result.stdout == "1\n", result

    sessions = [await sandbox.open_session() for _ in range(8)]
    try:
        steps = [lambda session=session: session.run("1 + 1") for session in sessions]
        return {
            "oneshot_p50_ms": await median_ms(program),
            "oneshot_per_s": await per_second([program] * CALLERS, seconds),
            "session_step_p50_ms": await median_ms(steps[0]),
            "session_steps_per_s": await per_second(steps, seconds),
        }
    finally:
        for session in sessions:
            await session.aclose()


async def measure_client(work: Work, seconds: float) -> dict[str, float]:
    """Requests a second at 64 callers, and the processor time that this process spends on one."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    rate = await per_second([work] * CALLERS, seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    requests = rate * (time.perf_counter() - began)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"requests_per_s": rate, "cpu_ms_per_request": spent / requests * 1e3}


async def measure_clients(url: str, seconds: float) -> dict[str, float]:
    """Our client's connections against httpx, on the route that answers at once."""
    pool = HttpPool(url, [])
    ours = await measure_client(lambda: pool.request("GET", "/health"), seconds)
    pool.close()
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False) as client:
        theirs = await measure_client(lambda: client.get("/health"), seconds)
    return {f"client_{key}": value for key, value in ours.items()} | {
        f"httpx_{key}": value for key, value in theirs.items()
    }


async def measure(seconds: float) -> dict[str, float]:
    """Take the two sandboxes in turns; returns the medians over the rounds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAUNCH, "sandbox", "serve", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    greeting = (await process.stdout.readline()).decode()
    url = greeting.split()[2].rstrip(":")
    rounds: list[dict[str, float]] = []
    try:
        async with LocalSandbox() as local, RemoteSandbox(url) as remote:
            await local.run(PROGRAM)
            await remote.run(PROGRAM)
            for _ in range(ROUNDS):
                here = await measure_sandbox(local, seconds)
                there = await measure_sandbox(remote, seconds)
                row = {f"local_{key}": value for key, value in here.items()}
                row |= {f"http_{key}": value for key, value in there.items()}
                rounds.append(row | await measure_clients(url, seconds))
    finally:
        process.terminate()
        await process.communicate()
    return {key: statistics.median(row[key] for row in rounds) for key in rounds[0]}


def report(found: dict[str, float]) -> dict[str, float]:
    """Add the ratios, which are what travels from machine to machine."""
    return {
        **{key: round(value, 4) for key, value in found.items()},
        "oneshot_http_over_local": round(
            found["http_oneshot_per_s"] / found["local_oneshot_per_s"], 3
        ),
        "oneshot_http_added_ms": round(
            found["http_oneshot_p50_ms"] - found["local_oneshot_p50_ms"], 3
        ),
        "session_http_over_local": round(
            found["http_session_steps_per_s"] / found["local_session_steps_per_s"], 3
        ),
        "client_cpu_httpx_over_ours": round(
            found["httpx_cpu_ms_per_request"] / found["client_cpu_ms_per_request"], 2
        ),
        "cores": len(os.sched_getaffinity(0)),
        "callers": CALLERS,
    }


def main(argv: list[str]) -> int:
    """Measure, print a table or JSON, write the result where `--out` says."""
    parser = argparse.ArgumentParser(prog="qwq bench sandbox_server", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there too")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    arguments = parser.parse_args(argv)
    result = report(asyncio.run(measure(arguments.seconds)))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(result))
        return 0
    print(f"{'':28}{'local':>12}{'http':>12}{'ratio':>10}")
    for key in ("oneshot_p50_ms", "oneshot_per_s", "session_step_p50_ms", "session_steps_per_s"):
        local, http = result[f"local_{key}"], result[f"http_{key}"]
        print(f"{key:28}{local:12.2f}{http:12.2f}{http / local:10.2f}")
    print(f"\n{'':28}{'ours':>12}{'httpx':>12}{'ratio':>10}")
    for key in ("requests_per_s", "cpu_ms_per_request"):
        ours, theirs = result[f"client_{key}"], result[f"httpx_{key}"]
        print(f"{key:28}{ours:12.2f}{theirs:12.2f}{theirs / ours:10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
