"""`MathRubric` of verifiers 0.3.1 grades math answers; run by its own interpreter.

    python benchmarks/_official_verifiers_math.py WORKERS

Asked over a pipe for `KIND SEED COUNT`, it grades those rows of `_math_rows`, all in flight, in as
many processes as ours, and says how many were right.
"""

from __future__ import annotations

import asyncio
import sys

import verifiers.legacy as vf
from _math_rows import Row, rows
from _side import answer


def main(workers: int) -> None:
    """Wait to be asked."""
    rubric = vf.MathRubric(max_workers=workers)
    rubric.executor._max_workers = workers  # what its `scale_executors` sets for many in flight

    async def graded(row: Row) -> bool:
        completion = [{"role": "assistant", "content": row.response}]
        reward = await rubric.correct_answer(rubric.parser, completion, row.gold)
        return (reward == 1.0) == row.right

    async def play(asked: str) -> int:
        kind, seed, count = asked.split()
        return sum(await asyncio.gather(*map(graded, rows(kind, int(seed), int(count)))))

    answer(play)


if __name__ == "__main__":
    main(int(sys.argv[1]))
