"""Seconds of wall time that a recipe comes to, said (`limits`) or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qwq_env.training.recipe.schema import Recipe

_BEYOND_A_BATCH: Final = 1800
"""Seconds for what a step does besides its episodes; a cold start, too, is made by one process."""
_BEYOND_A_TURN: Final = 300
"""Seconds by which a request outlives its batch: the deadline of the batch is to end it."""


def episode_seconds(recipe: Recipe) -> float | None:
    """Return the wall time of an episode, None for no bound."""
    said = recipe.limits.episode
    return recipe.environment.seconds if said is None else said


def batch_seconds(recipe: Recipe) -> float:
    """Return the wall time for the episodes of one training step."""
    said = recipe.limits.batch
    return recipe.rollout.batch_seconds if said is None else said


def request_seconds(recipe: Recipe) -> float:
    """Return the wall time of one turn on a server."""
    said = recipe.limits.request
    return batch_seconds(recipe) + _BEYOND_A_TURN if said is None else said


def patience(recipe: Recipe) -> int:
    """Return the seconds that processes wait for each other; more than any batch may take."""
    said = recipe.limits.ddp
    derived = max(batch_seconds(recipe) + _BEYOND_A_BATCH, request_seconds(recipe) + 60)
    return math.ceil(derived if said is None else said)
