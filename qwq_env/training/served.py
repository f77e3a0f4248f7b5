"""The servers that a recipe names: who samples on them, and what brings them the weights."""

from __future__ import annotations

import os

from qwq_env.errors import UsageError
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.training.recipe import PolicyRecipe
from qwq_env.training.weights.adapter import ADAPTER, AdapterWeightSync
from qwq_env.training.weights.base import WeightSync
from qwq_env.training.weights.disk import DiskWeightSync


def servers_of(
    recipe: PolicyRecipe, *, seconds: float | None = None
) -> tuple[VllmPolicy, WeightSync | None] | None:
    """Return what samples on servers and what brings them the weights, if the recipe has any.

    `seconds` bounds one request. With NCCL the trainer itself brings the weights.
    """
    if recipe.sampler == "transformers":
        return None
    if not recipe.servers:
        raise UsageError("policy.servers: none; expected addresses (qwq launch fills them in)")
    policy = vllm_of(recipe, seconds, ADAPTER if recipe.weights == "adapter" else None)
    if recipe.weights == "nccl":
        return policy, None
    assert recipe.served is not None
    kind = AdapterWeightSync if recipe.weights == "adapter" else DiskWeightSync
    return policy, kind(recipe.served, recipe.servers, api_key=os.environ.get("VLLM_API_KEY"))


def vllm_of(recipe: PolicyRecipe, seconds: float | None, adapter: str | None) -> VllmPolicy:
    """Return what samples from the servers' model, or from an `adapter` on it."""
    settings = None if seconds is None else HttpSettings(seconds=seconds)
    key = os.environ.get("VLLM_API_KEY")
    return VllmPolicy(recipe.servers, adapter=adapter, settings=settings, api_key=key)
