"""The wall limits of a training, from the inside out: one chain, checked in one place.

    a tool's call < episode < batch < a request to a server < ddp_timeout

Each must end before the one around it, or the outer one ends it wrongly: a request that times out
before its batch has its episode played again, and again, and then thrown away, so that the longest
turns are never learned from; a batch that outlives `ddp_timeout` takes the other ranks with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.toolbox import ToolLimits

_SHARE: Final = 0.8


class WallLimits(NamedTuple):
    """Seconds of each link of the chain; None or infinity where it has no bound of its own."""

    tool: float | None = None
    episode: float | None = None
    batch: float | None = None
    request: float | None = None
    ddp: float | None = None


_NAMES: Final = (
    "ToolLimits.seconds", "EpisodeLimits.seconds", "batch_seconds", "HttpSettings.seconds",
    "ddp_timeout",
)  # fmt: skip


def check_order(limits: WallLimits, names: Sequence[str] = _NAMES) -> None:
    """Raise `UsageError`, one line, for the first two that are out of order, by their `names`."""
    bounds = [
        (name, seconds)
        for name, seconds in zip(names, limits, strict=True)
        if seconds is not None and math.isfinite(seconds)
    ]
    for (inner, less), (outer, more) in pairwise(bounds):
        if less >= more:
            raise UsageError(
                f"{inner}: {less:g} seconds; expected less than {outer} ({more:g}), within which"
                " it must end"
            )


def tool_seconds(limits: ToolLimits) -> float | None:
    """Return the bound of a call that an environment asks for; None where it asks for none, and a
    call ends with its episode at the latest."""
    return None if limits == ToolLimits() else limits.seconds


def batch_seconds(limits: WallLimits) -> float:
    """Return the seconds that a batch may take: its own, or what the chain leaves if it has none.

    That is four fifths of what is around it, for scoring and grading come on top; where an episode
    may take longer than that, it lies halfway between the two. `ddp` is None on one process, where
    nobody waits. Raises `UsageError` as `check_order` does.
    """
    check_order(limits)
    if limits.batch is not None and math.isfinite(limits.batch):
        return limits.batch
    around = min((s for s in (limits.request, limits.ddp) if s is not None), default=math.inf)
    if math.isinf(around):
        return around
    return max(_SHARE * around, ((limits.episode or 0.0) + around) / 2)
