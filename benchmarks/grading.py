"""qwq bench grading [--json] [--rows N] [--out FILE]

Math grades a second and the latency of one grade, on the same rows: this library's `MathGrader`
with two workers, math-verify called in the process, TRL's `accuracy_reward` (which wraps it), and a
fork for every call, the usual way to make math-verify killable.

Rows are responses with a box, of the kinds that GSM8K and MATH ask for: half of them exact numbers,
half expressions, every one different, one in three wrong. Latency is measured with two calls in
flight, throughput with 256. With the labelled rows at hand (../shared/vectors) their latency is
reported as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qwq_env.grading.math import MathGrader

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent.parent / "shared" / "vectors" / "math.jsonl"
Row = tuple[str, str, bool]


def main(argv: list[str]) -> int:
    """Run the comparison; prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="qwq bench grading", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(argv)
    rows = [_row(random.Random(number)) for number in range(options.rows)]
    result: dict[str, Any] = asyncio.run(_ours(rows))
    result |= {"rows": options.rows, "cores": os.cpu_count(), "peers": {}}
    few = rows[: max(options.rows // 8, 20)]
    result["peers"]["math_verify"] = _measured(few, _math_verify())
    trl = _accuracy_reward()
    result["peers"]["trl_accuracy_reward"] = _measured(few, trl) if trl else "not installed"
    result["peers"]["fork_per_call"] = _measured(few[:200], _forked(_math_verify()))
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(text if options.json else _table(result))
    return 0


def _row(choose: random.Random) -> Row:
    """A reference, a response, and whether the response is right."""
    number = choose.randint(2, 99_999)
    other, third = choose.randint(2, 99), choose.randint(2, 30)
    right = choose.random() < 2 / 3
    shift = 0 if right else 1
    gold, answer = choose.choice(_FORMS)(number, other, third, shift)
    thought = f"We compute step by step: {number} and {other} give {third}. " * choose.randint(1, 8)
    return gold, f"<think>\n{thought}\n</think>\n\nThe answer is $\\boxed{{{answer}}}$.", right


_FORMS: tuple[Callable[[int, int, int, int], tuple[str, str]], ...] = (
    lambda n, a, b, s: (str(n), f"{n + s:,}"),
    lambda n, a, b, s: (str(n), f"{n + s}\\text{{ apples}}"),
    lambda n, a, b, s: (f"{n}.50", f"\\${n + s}.5"),
    lambda n, a, b, s: (f"\\frac{{{n}}}{{{2 * n + 1}}}", f"{2 * n + 2 * s}/{4 * n + 2}"),
    lambda n, a, b, s: (f"({a},{n})", f"({a}, {n + s})"),
    lambda n, a, b, s: (f"{a}\\%", f"{a + s}"),
    lambda n, a, b, s: (f"{a}\\sqrt{{{n}}}", f"\\sqrt{{{a * a * n + s}}}"),
    lambda n, a, b, s: (f"\\frac{{{a}\\pi}}{{{n}}}", f"\\frac{{{a}}}{{{n + s}}}\\pi"),
    lambda n, a, b, s: (f"{a}x^2-{n}x+{b}", f"x({a}x-{n})+{b + s}"),
    lambda n, a, b, s: (f"y={a}x+{n}", f"y={n + s}+{a}x"),
    lambda n, a, b, s: (f"[{a},{n + 100})", f"{a} \\le x < {n + 100 + s}"),
    lambda n, a, b, s: (f"{a}-{n}i", f"-{n + s}i+{a}"),
)


async def _ours(rows: list[Row]) -> dict[str, Any]:
    async with MathGrader(workers=2) as grader:
        await asyncio.gather(*(grader.grade("x", f"y+{n}x") for n in range(200)))
        wrong = 0
        gate = asyncio.Semaphore(256)

        async def check(row: Row) -> None:
            nonlocal wrong
            async with gate:
                score = await grader.grade(row[0], row[1], "response")
            wrong += (score.value == 1.0) != row[2]

        began = time.perf_counter()
        await asyncio.gather(*map(check, rows))
        seconds = time.perf_counter() - began
        result = {"per_s": round(len(rows) / seconds, 1), "wrong": wrong}
        fresh = [_row(random.Random(-number - 1)) for number in range(min(len(rows), 1_000))]
        result |= _percentiles(await _latencies(grader, [(*row[:2], "response") for row in fresh]))
        if VECTORS.is_file():
            labelled = [json.loads(line) for line in VECTORS.read_bytes().split(b"\n") if line]
            honest = [
                (row["gold"], row["answer"], row["kind"])
                for row in labelled
                if row["source"] != "adversarial" and not row["policy"]
            ]
            result["labelled_honest"] = _percentiles(await _latencies(grader, honest))
        return result


async def _latencies(grader: MathGrader, rows: list[tuple[str, str, Any]]) -> list[float]:
    queue, seconds = list(rows), []

    async def work() -> None:
        while queue:
            gold, answer, kind = queue.pop()
            began = time.perf_counter()
            await grader.grade(gold, answer, kind)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(work(), work())
    return seconds


def _measured(rows: list[Row], grade: Callable[[str, str], bool]) -> dict[str, Any]:
    grade("$x$", "$\\boxed{x+1}$")
    seconds, wrong = [], 0
    for gold, response, right in rows:
        began = time.perf_counter()
        wrong += grade(f"${gold}$", response) != right
        seconds.append(time.perf_counter() - began)
    return {"per_s": round(len(rows) / sum(seconds), 1), "wrong": wrong, **_percentiles(seconds)}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49] * 1e3, 3), "p99_ms": round(cuts[98] * 1e3, 3)}


def _math_verify() -> Callable[[str, str], bool]:
    from math_verify import parse, verify

    return lambda gold, response: bool(verify(parse(gold), parse(response)))


def _accuracy_reward() -> Callable[[str, str], bool] | None:
    try:
        from trl.rewards import accuracy_reward
    except ImportError:
        return None
    logging.disable(logging.WARNING)
    return lambda gold, response: accuracy_reward([[{"content": response}]], [gold]) == [1.0]


def _forked(grade: Callable[[str, str], bool]) -> Callable[[str, str], bool]:
    def run(gold: str, response: str) -> bool:
        child = os.fork()
        if child == 0:
            status = 2
            try:
                status = 0 if grade(gold, response) else 1
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return run


def _table(result: dict[str, Any]) -> str:
    rows = {"qwq-env, 2 workers": result, **result["peers"]}
    lines = [f"{'':24}{'grades/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'wrong':>7}"]
    for name, row in rows.items():
        if isinstance(row, str):
            lines.append(f"{name:24}{row:>10}")
            continue
        lines.append(
            f"{name:24}{row['per_s']:>10,.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
            f"{row['wrong']:>7}"
        )
    if "labelled_honest" in result:
        honest = result["labelled_honest"]
        lines.append(f"labelled honest rows: p50 {honest['p50_ms']} ms, p99 {honest['p99_ms']} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
