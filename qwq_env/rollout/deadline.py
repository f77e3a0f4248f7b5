"""An episode that is played until it ends, or until the wall time that it was given."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable

from qwq_env.episode import Episode, Step
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.outcome import Limit


async def until_deadline(
    episode: Episode, batch: float, turn: Callable[[], Awaitable[Step]]
) -> Step:
    """Take turns until an outcome; what is under way at the deadline is given up.

    That is the episode's own or that of its `batch`, on the clock of `time.perf_counter`, whichever
    is nearer.
    """
    limit, seconds = _nearest(episode, batch)
    try:
        async with asyncio.timeout(seconds) as bound:
            episode.before_grading = functools.partial(_lift, bound)
            while (step := await turn()).outcome is None:
                pass
            return step
    except TimeoutError:
        if not bound.expired():
            raise
        return await _end(episode, limit)


def _nearest(episode: Episode, batch: float) -> tuple[Limit, float | None]:
    """Return the nearer of an episode's deadline and its batch's, and the seconds to it.

    `batch` is on the clock of `time.perf_counter`; the seconds are None if neither is bounded.
    """
    own = episode.seconds_left()
    left = batch - time.perf_counter()
    if own is None or left < own:
        return "batch_deadline", None if math.isinf(left) else max(left, 0.0)
    return "seconds", max(own, 0.0)


def _lift(bound: asyncio.Timeout) -> None:
    """Lift the deadline of an episode that is done and being graded.

    The policy shall not pay for a grader's time, which has its own bounds.
    """
    if not bound.expired():
        bound.reschedule(None)


async def _end(episode: Episode, limit: Limit) -> Step:
    """End an episode at the deadline that `limit` names. An outcome that stands already stays.

    Tools may still have been closing then. Raises what `Episode.step` would have raised.
    """
    outcome = episode.outcome
    if outcome is None:
        return await episode.truncate(limit)
    if outcome.reason in ("usage", "infrastructure"):
        kind = UsageError if outcome.reason == "usage" else InfrastructureError
        raise kind(outcome.detail)
    await episode.aclose()
    return Step([], (), outcome, episode.paid)
