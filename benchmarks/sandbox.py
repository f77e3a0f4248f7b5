"""qwq bench sandbox [--json] [--out FILE] [--rounds N] [--programs N] [--peers [NAME ...]]

The sandbox against the ways others run a model's Python: an interpreter for each program, the
python tools of GEM and SkyRL-Gym, ipykernel, smolagents' evaluator, and, as the fastest way there
is, a bare fork of a warm process, which isolates nothing. All sides run the very same programs,
each of which is drawn anew (`_sandbox_programs.py`), and what they print is compared with what the
interpreter prints. Each peer has as many workers as give it its highest rate; the sides take turns,
in an order that is reversed each other round. A rate is the median over the rounds with its 95 %
bootstrap interval, and so is the ratio to ours of the same round. Quote the ratios: the times are
the machine's.

A peer (in a virtual environment of its own, made at the first run under the cache folder) that
cannot be installed, or does not print what it must, is null, with the reason beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from _result import run
from _rounds import alternate, spread
from _sandbox_family import descendants, field_bytes
from _sandbox_programs import PROGRAMS
from _sandbox_workers import PeerFailed, Workers, best_count, start

from qwq_env.sandbox import Limits, LocalSandbox, SandboxSession, warm

CALLERS: Final = 64
SESSIONS: Final = 64
MEMORY_SESSIONS: Final = 50
SEED: Final = 20_261_128
IMAGE: Final = ("numpy", "sympy")
SLOW: Final = ("bare", "gem", "skyrl_gym")
"""Sides that start an interpreter for each program: they get the first fifth of a round's."""

PEERS: Final[Mapping[str, tuple[str, ...]]] = {
    "plain": ("fork", "bare", "gem", "skyrl_gym", "smolagents"),
    "symbolic": ("fork", "bare", "gem", "skyrl_gym", "smolagents", "ipykernel"),
    "steps": ("ipykernel", "smolagents_session"),
}


class Batch(NamedTuple):
    """The programs of a round, and what each prints."""

    programs: Sequence[str]
    printed: Sequence[str]

    def first(self, count: int) -> Batch:
        """Return the beginning, which is as mixed as the whole."""
        return Batch(self.programs[:count], self.printed[:count])


def batches(kind: str, rounds: int, count: int) -> list[Batch]:
    """Draw the programs of each round, after those to warm up with; the interpreter runs them."""
    drawn = PROGRAMS[kind](SEED)
    reference = Workers("reference", 1, sys.executable)
    try:
        lots = [list(itertools.islice(drawn, count)) for _ in range(rounds + 1)]
        return [Batch(programs, reference.outputs(programs)) for programs in lots]
    finally:
        reference.close()


class Ours:
    """Our side: 64 callers of one sandbox; a round's rate, and what it cost this process."""

    def __init__(self, runner: asyncio.Runner, sandbox: LocalSandbox, in_sessions: bool) -> None:
        self._runner = runner
        self._sandbox = sandbox
        self._sessions: list[SandboxSession] = []
        if in_sessions:
            opened = (sandbox.open_session() for _ in range(SESSIONS))
            self._sessions = [runner.run(session) for session in opened]
        self.host_ms: list[float] = []

    def run(self, batch: Batch) -> float:
        """Return programs per second."""
        cpu, began = time.process_time(), time.perf_counter()
        self._runner.run(self._all(batch))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        self.host_ms.append(1e3 * cpu / len(batch.programs))
        return len(batch.programs) / seconds

    async def _all(self, batch: Batch) -> None:
        left = iter(zip(*batch, strict=True))
        uses = [session.run for session in self._sessions] or [self._sandbox.run] * CALLERS
        await asyncio.gather(*(self._caller(use, left) for use in uses))

    async def _caller(self, use: Callable[[str], Any], left: Iterator[tuple[str, str]]) -> None:
        for program, printed in left:
            result = await use(program)
            if result.status != "ok" or result.stdout != printed:
                raise RuntimeError(f"{program!r} ended as {result}")

    def latencies(self, batch: Batch) -> list[float]:
        """Seconds that each program takes, one after another."""
        return self._runner.run(self._one_by_one(batch))

    async def _one_by_one(self, batch: Batch) -> list[float]:
        use = self._sessions[0].run if self._sessions else self._sandbox.run
        taken = []
        for program in batch.programs:
            began = time.perf_counter()
            await use(program)
            taken.append(time.perf_counter() - began)
        return taken

    def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions:
            self._runner.run(session.aclose())


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie, in milliseconds."""
    ordered = sorted(values)
    return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


def rounded(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median and its interval; None where there is none."""
    if any(map(math.isnan, values)):
        return None
    return {name: float(f"{value:.4g}") for name, value in spread(values).items()}


def crews(options: argparse.Namespace) -> dict[str, int | str]:
    """Return how many workers each peer is best with, or why there are none."""
    (some,) = batches("plain", 0, options.programs)
    found: dict[str, int | str] = {}
    for name in options.peers:
        try:
            found[name] = best_count(name, *some.first(_share(name, options.programs)))
        except PeerFailed as error:
            found[name] = str(error)
    return found


def _share(name: str, count: int) -> int:
    return count // 5 if name in SLOW else count


def compare(
    kind: str,
    runner: asyncio.Runner,
    sandbox: LocalSandbox,
    options: argparse.Namespace,
    crew: Mapping[str, int | str],
) -> dict[str, Any]:
    """Every side on the programs of one kind, in turns."""
    count = options.programs * (10 if kind == "steps" else 1)
    warming, *lots = batches(kind, options.rounds, count)
    reasons: dict[str, str] = {}
    groups: dict[str, Workers] = {}
    warm_up = warm.programs(IMAGE) if kind == "symbolic" else []
    for name in PEERS[kind]:
        workers = crew.get(name)
        if isinstance(workers, str):
            reasons[name] = workers
        elif workers is not None:
            groups[name] = start(name, workers, warm_up if name == "fork" else ())
    ours = Ours(runner, sandbox, kind == "steps")
    ours.run(warming)
    ours.host_ms.clear()

    def turns(name: str) -> Callable[[], float]:
        """Return what runs the next round's programs at each call."""
        left = iter(lots)
        group: Ours | Workers = ours if name == "ours" else groups[name]

        def turn() -> float:
            batch = next(left).first(_share(name, count))
            try:
                return group.run(batch) if isinstance(group, Ours) else group.run(*batch)
            except PeerFailed as error:
                reasons[name] = str(error)
                return math.nan

        return turn

    rates = alternate({name: turns(name) for name in ("ours", *groups)}, options.rounds)
    taken = ours.latencies(warming.first(options.programs))
    ours.close()
    for group in groups.values():
        group.close()
    return {
        "ours": {
            "per_s": rounded(rates["ours"]),
            "p50_ms": percentile(taken, 0.5),
            "p99_ms": percentile(taken, 0.99),
            "host_cpu_ms": rounded(ours.host_ms),
        },
        **{
            name: {
                "per_s": rounded(rates[name]),
                "ours_over_it": rounded(
                    [mine / its for mine, its in zip(rates["ours"], rates[name], strict=True)]
                ),
                "workers": groups[name].count,
            }
            for name in groups
        },
        **{name: {"per_s": None, "reason": reason} for name, reason in reasons.items()},
    }


async def overshoot() -> float:
    """Milliseconds by which a busy loop outlives its deadline, at the most of ten times."""
    limits = Limits(wall_seconds=0.3)
    over = []
    async with LocalSandbox(preload=()) as sandbox:
        await sandbox.start()
        for _ in range(10):
            began = time.perf_counter()
            await sandbox.run("while True: pass", limits=limits)
            over.append(time.perf_counter() - began - limits.wall_seconds)
    return round(1e3 * max(over), 1)


async def session_bytes(sandbox: LocalSandbox) -> int:
    """What one more session takes: the share of each page (PSS) and the page tables."""
    warmed = await sandbox.open_session()
    await warmed.run("x = 1\nx + 1")
    before = family_bytes(sandbox)
    opened = [await sandbox.open_session() for _ in range(MEMORY_SESSIONS)]
    for session in opened:
        await session.run("x = 1\nx + 1")
    after = family_bytes(sandbox)
    for session in [warmed, *opened]:
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


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every figure, in one run."""
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        # Above the number of cores the figures below are those of a crowded machine.
        "load_at_start": round(os.getloadavg()[0], 1),
        "rounds": options.rounds,
        "programs": options.programs,
    }
    crew = crews(options)
    with asyncio.Runner() as runner:
        for kind, image in (("plain", ()), ("symbolic", IMAGE), ("steps", IMAGE)):
            sandbox = LocalSandbox(preload=image)
            try:
                report[kind] = compare(kind, runner, sandbox, options, crew)
                report["level"] = sandbox.level
                if kind == "steps":
                    report["session_bytes"] = runner.run(session_bytes(sandbox))
            finally:
                runner.run(sandbox.aclose())
        report["timeout_overshoot_ms"] = runner.run(overshoot())
    return report


def table(report: Mapping[str, Any]) -> str:
    """Return a line for each side of each kind; who is faster than ours is said."""
    lines = []
    for kind in PEERS:
        lines.append(f"{kind:<20}{'per s':>8}  {'95 %':^17}{'ours over it':>13}  {'95 %':^15}")
        for name, row in report[kind].items():
            if row["per_s"] is None:
                lines.append(f"  {name:<18}{row['reason'][:60]}")
                continue
            line = f"  {name:<18}{_figures(row['per_s'], 8, 17)}"
            if (over := row.get("ours_over_it")) is not None:
                faster = "  (faster than ours)" if over["median"] < 1 else ""
                line += f"{_figures(over, 13, 15)}{faster}"
            lines.append(line)
    rest = {name: value for name, value in report.items() if name not in PEERS}
    rest |= {
        f"{kind}_{name}": value if isinstance(value, float) else value["median"]
        for kind in PEERS
        for name, value in report[kind]["ours"].items()
        if name != "per_s"
    }
    return "\n".join([*lines, "", *(f"{name:<24}{value}" for name, value in rest.items())])


def _figures(found: Mapping[str, float], width: int, interval: int) -> str:
    between = f"{found['low']:g} .. {found['high']:g}"
    return f"{found['median']:>{width}g}  {between:^{interval}}"


def main(argv: list[str]) -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="qwq bench sandbox",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="in which the sides take turns")
    parser.add_argument("--programs", type=int, default=70, help="of each kind in a round")
    everyone = sorted({name for names in PEERS.values() for name in names})
    parser.add_argument(
        "--peers", nargs="*", choices=everyone, default=everyone, help="none: ourselves only"
    )
    run(parser, argv, measure, table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
