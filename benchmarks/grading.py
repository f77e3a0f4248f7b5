"""Math grades a second, like for like: `MathGrader`, math-verify, TRL, verifiers.

    qwq bench grading [--rows 120] [--rounds 7] [--workers 2] [--json] [--out FILE]

First one at a time: our grader with one worker; each of the others in one process. Then side by
side: as many processes for each, our grader with 256 rows in flight, the others with their best
way to be given many (`_math_peers.py`, `_official_verifiers_math.py`). All grade the same rows,
other rows in each round, so that nobody's cache holds them; the order alternates; medians have 95 %
intervals. Nothing of a first call is counted.

Rows are of three kinds (`_math_rows.py`), for our speed has its reasons: numbers never leave the
caller's process, most other answers never see SymPy. `at_once` is the share of rows of a kind that
are decided without a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from _math_peers import Graded, grade, pool
from _math_rows import KINDS, Row, rows
from _official import environment
from _result import run
from _rounds import alternate, spread
from _sides import Side, side

from qwq_env.grading.math import MathGrader

IN_FLIGHT = 256
WARM_UP = 12
ALONE = ("math_verify", "math_verify_defaults", "trl_accuracy_reward", "fork")
TOGETHER = ("math_verify", "trl_accuracy_reward")


class Turn(NamedTuple):
    """What a side did with the rows of a round."""

    per_s: float
    wrong: int
    latencies: list[float]


def main(argv: list[str]) -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="qwq bench grading", description=__doc__)
    parser.add_argument("--rows", type=int, default=120, help="of a kind in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2, help="processes of each, side by side")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--no-verifiers", action="store_true", help="needs no other environment")
    run(parser, argv, measure, table)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each kind both ways."""
    found = {
        "rows": options.rows,
        "rounds": options.rounds,
        "workers": options.workers,
        "in_flight": IN_FLIGHT,
        "at_once": {kind: _at_once(kind) for kind in options.kinds},
        "one_at_a_time": _measured(_alone, options, max(options.rows // 3, 6)),
        "side_by_side": _measured(_together, options, options.rows),
    }
    if not options.no_verifiers:
        found["versions"] = {"verifiers": "0.3.1"}
    return found


def _at_once(kind: str) -> float:
    grader = MathGrader()
    taken = [grader._taken(row.gold, row.response, "response") for row in rows(kind, -2, 200)]
    return round(statistics.fmean(grader._at_once(*pair) is not None for pair in taken), 3)


Start = Callable[[contextlib.ExitStack, argparse.Namespace], dict[str, Callable[..., Turn]]]


def _measured(start: Start, options: argparse.Namespace, count: int) -> dict[str, Any]:
    """Return by kind what each side came to, and our rate over each other's."""
    result = {}
    with contextlib.ExitStack() as stack:
        sides = start(stack, options)
        for kind in options.kinds:
            for one in sides.values():
                one(kind, -1, max(WARM_UP, len(KINDS[kind]) * options.workers))
            turns = [_Turns(one, kind, count) for one in sides.values()]
            found = alternate(dict(zip(sides, turns, strict=True)), options.rounds)
            result[kind] = {name: _summary(taken, found["ours"]) for name, taken in found.items()}
    return result


class _Turns:
    """A side that is given the next rows each time."""

    def __init__(self, one: Callable[..., Turn], kind: str, count: int) -> None:
        self._one, self._kind, self._count, self._seed = one, kind, count, 0

    def __call__(self) -> Turn:
        self._seed += 1
        return self._one(self._kind, self._seed, self._count)


def _summary(turns: Sequence[Turn], ours: Sequence[Turn]) -> dict[str, Any]:
    ratios = [mine.per_s / turn.per_s for mine, turn in zip(ours, turns, strict=True)]
    figures = {"per_s": _rounded([turn.per_s for turn in turns]), "ours_over": _rounded(ratios)}
    latencies = [value * 1e3 for turn in turns for value in turn.latencies]
    if len(latencies) > len(turns):
        cuts = statistics.quantiles(latencies, n=100, method="inclusive")
        figures |= {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}
    return {**figures, "wrong": sum(turn.wrong for turn in turns)}


def _rounded(values: Sequence[float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in spread(values).items()}


def _alone(
    stack: contextlib.ExitStack, options: argparse.Namespace
) -> dict[str, Callable[..., Turn]]:
    """One worker, one process, one row at a time."""
    grader = stack.enter_context(MathGrader(workers=1))

    def ours(kind: str, seed: int, count: int) -> Turn:
        wrong, seconds = 0, []
        for row in rows(kind, seed, count):
            began = time.perf_counter()
            score = grader.grade_sync(row.gold, row.response, "response")
            seconds.append(time.perf_counter() - began)
            wrong += (score.value == 1.0) != row.right
        return Turn(count / sum(seconds), wrong, seconds)

    def peer(name: str) -> Callable[..., Turn]:
        process = stack.enter_context(pool(1))

        def one(kind: str, seed: int, count: int) -> Turn:
            found = process.submit(grade, name, rows(kind, seed, count)).result()
            return Turn(count / sum(found.seconds), found.wrong, found.seconds)

        return one

    return {"ours": ours, **{name: peer(name) for name in ALONE}}


def _together(
    stack: contextlib.ExitStack, options: argparse.Namespace
) -> dict[str, Callable[..., Turn]]:
    """As many processes for each, as many rows in flight as it likes."""
    sides: dict[str, Callable[..., Turn]] = {"ours": _ours_together(stack, options.workers)}
    for name in TOGETHER:
        sides[name] = _pooled(name, stack.enter_context(pool(options.workers)), options.workers)
    if not options.no_verifiers:
        python = environment("verifiers-0.3.1", ["verifiers==0.3.1"])
        words = ("_official_verifiers_math.py", str(options.workers))
        sides["verifiers_MathRubric"] = _asked(stack.enter_context(side(python, *words)))
    return sides


def _ours_together(stack: contextlib.ExitStack, workers: int) -> Callable[..., Turn]:
    grader = stack.enter_context(MathGrader(workers=workers))

    async def graded(row: Row, gate: asyncio.Semaphore) -> bool:
        async with gate:
            score = await grader.grade(row.gold, row.response, "response")
        return (score.value == 1.0) == row.right

    async def all_of(chosen: Sequence[Row]) -> int:
        gate = asyncio.Semaphore(IN_FLIGHT)
        return sum(await asyncio.gather(*(graded(row, gate) for row in chosen)))

    def one(kind: str, seed: int, count: int) -> Turn:
        chosen = rows(kind, seed, count)
        began = time.perf_counter()
        right = asyncio.run(all_of(chosen))
        return Turn(count / (time.perf_counter() - began), count - right, [])

    return one


def _pooled(name: str, processes: ProcessPoolExecutor, workers: int) -> Callable[..., Turn]:
    def one(kind: str, seed: int, count: int) -> Turn:
        # Four parts a process: few messages, and no process waits long for the last one.
        size = max(count // (4 * workers), 1)
        chosen = rows(kind, seed, count)
        parts = [chosen[start : start + size] for start in range(0, count, size)]
        began = time.perf_counter()
        found: list[Graded] = list(processes.map(grade, [name] * len(parts), parts))
        seconds = time.perf_counter() - began
        return Turn(count / seconds, sum(part.wrong for part in found), [])

    return one


def _asked(other: Side) -> Callable[..., Turn]:
    def one(kind: str, seed: int, count: int) -> Turn:
        told = other.ask(f"{kind} {seed} {count}")
        return Turn(count / told["wall_s"], count - told["right"], [])

    return one


def table(result: Mapping[str, Any]) -> str:
    """Return a line a side."""
    lines = [f"{'':44}{'grades/s':>10}{'interval':>22}{'ours ×':>9}{'p50 ms':>9}{'wrong':>7}"]
    for way in ("one_at_a_time", "side_by_side"):
        for kind, sides in result[way].items():
            for name, found in sides.items():
                rate = found["per_s"]
                lines.append(
                    f"{way.replace('_', ' '):14}{kind:12}{name:18}{rate['median']:10.1f}"
                    f"{rate['low']:10.1f} to {rate['high']:8.1f}{found['ours_over']['median']:9.2f}"
                    f"{found.get('p50_ms', float('nan')):9.2f}{found['wrong']:7}"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
