"""Sides that take turns, and how sure the median of their figures is."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
RESAMPLES = 1000


def alternate(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run every side once a round; return what each gave, round by round.

    The order is reversed each other round, so that what the side before leaves behind (warm
    caches, memory to collect, a processor that was slowed) meets each of them as often.
    """
    found: dict[str, list[T]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        for name in order:
            found[name].append(sides[name]())
        order.reverse()
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, and `low` and `high`: its 95 % bootstrap interval (percentiles).

    The resampling is seeded: the same values give the same interval. With fewer than six values
    the interval is no more than the least and the greatest of them.
    """
    draw = random.Random(0)
    medians = sorted(
        statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    cut = RESAMPLES // 40
    return {
        "median": statistics.median(values), "low": medians[cut], "high": medians[-1 - cut],
    }  # fmt: skip
