"""How the episodes of a recipe are played: lengths, temperature, and bounds."""

from __future__ import annotations

from qwq_env.chat_model import Sampling
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.play import PlaySettings
from qwq_env.training.recipe import Recipe


def play_settings(recipe: Recipe, temperature: float | None = None) -> PlaySettings:
    """Return how an episode is played, by default at the temperature of training."""
    wanted = recipe.grpo
    return PlaySettings(
        sampling=Sampling(wanted.temperature if temperature is None else temperature),
        context=wanted.context,
        completion=wanted.max_completion_tokens,
        turn_tokens=wanted.max_completion_tokens,
        thinking=recipe.rollout.thinking,
    )


def training_engine(recipe: Recipe) -> EngineSettings:
    """Return the bounds of playing the episodes of one training step."""
    rollout = recipe.rollout
    return EngineSettings(rollout.concurrency, rollout.attempts, recipe.limits.batch)


def evaluation_engine(recipe: Recipe) -> EngineSettings:
    """Return the bounds of an evaluation, which may take as long as it takes."""
    return EngineSettings(recipe.rollout.concurrency, recipe.rollout.attempts)
