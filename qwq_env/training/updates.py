"""How a batch of episodes is learned from, and how many more may be played for it."""

from __future__ import annotations

from typing import NamedTuple

from qwq_env.training.recipe import Recipe


class Updates(NamedTuple):
    """How a batch of episodes is learned from: micro-batches of a process, optimizer steps, and how
    often each row goes through the model."""

    batches: int
    steps: int
    iterations: int

    def whole(self, steps: int) -> int:
        """Return the next number of `steps` after which no batch is half learned from."""
        return -(-steps // self.steps) * self.steps


def updates_of(recipe: Recipe, world: int) -> Updates:
    """Return how each of `world` processes learns from a batch of episodes."""
    grpo = recipe.grpo
    batches = grpo.episodes // world // grpo.rows(world)
    iterations = int(grpo.trl.get("num_iterations", 1))
    return Updates(batches, batches // (grpo.accumulation or batches) * iterations, iterations)


def spare_groups(groups: int, factor: float) -> int:
    """Return how many groups dynamic sampling may play beyond those of a batch: `grpo.dynamic`
    times the batch are played in all."""
    return int(round((factor - 1) * groups, 6))
