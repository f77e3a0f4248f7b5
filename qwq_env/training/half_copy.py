"""A copy of the policy in what is computed in, to sample from in this process.

Where there are instructions for it (on a CPU: AVX512-BF16, AMX) a large model samples about twice
as fast in bfloat16, and what it learns is lost if its own weights are: so they stay, and a copy
samples.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.placement import computed_in, weights_in
from qwq_env.training.recipe import Recipe
from qwq_env.training.weights.base import Pushed, WeightSync


def sampling_from(model: Any, codec: Any, recipe: Recipe) -> TransformersPolicy:
    """Return a policy on `model`, or on a copy of it as the recipe says."""
    return TransformersPolicy(half_of(model) if _samples_a_copy(recipe) else model, codec)


def sampler_in_process(
    model: Any, codec: Any, recipe: Recipe
) -> tuple[TransformersPolicy, WeightSync] | None:
    """Return what samples in training and what brings it the weights; None for the model itself."""
    if model is None or not _samples_a_copy(recipe):
        return None
    half = half_of(model)
    return TransformersPolicy(half, codec), CopyWeights(half)


def _samples_a_copy(recipe: Recipe) -> bool:
    wanted = recipe.policy.sampling_dtype == "computed"
    return wanted and weights_in(recipe) is not computed_in(recipe)


def half_of(model: Any) -> Any:
    """Return a copy in bfloat16, in evaluation mode, without gradients."""
    return copy.deepcopy(model).to(torch.bfloat16).eval().requires_grad_(False)


class CopyWeights(WeightSync):
    """Brings the trained weights into a `target` of this process that has the same parameters."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def push(self, trainer: Any) -> Pushed:
        """Copy all weights; each rank has a copy of its own, so nothing is collective."""
        began, size = time.perf_counter(), 0
        trained = trainer.accelerator.unwrap_model(trainer.model)
        with torch.no_grad():
            for own, new in zip(self._target.parameters(), trained.parameters(), strict=True):
                own.copy_(new)
                size += own.nbytes
        return Pushed(trainer.state.global_step, time.perf_counter() - began, size, ())
