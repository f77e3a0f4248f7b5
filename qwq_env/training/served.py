"""The servers that a recipe names: who samples on them, and what brings them the weights."""

from __future__ import annotations

import os

from qwq_env.errors import UsageError
from qwq_env.rollout.vllm_policy import HttpSettings, VllmPolicy
from qwq_env.training.recipe import Recipe
from qwq_env.training.weights.adapter import ADAPTER, AdapterWeightSync
from qwq_env.training.weights.base import WeightSync
from qwq_env.training.weights.disk import DiskWeightSync


def servers_of(recipe: Recipe) -> tuple[VllmPolicy, WeightSync | None] | None:
    """Return what samples on servers and what brings them the weights, if the recipe has any.

    With NCCL the trainer itself brings the weights. Raises `UsageError` where servers are to
    sample, and none is named.
    """
    policy = recipe.policy
    if policy.sampler == "transformers":
        return None
    if not policy.servers:
        raise UsageError("policy.servers: none; expected addresses (qwq launch fills them in)")
    served = vllm_of(recipe, ADAPTER if policy.weights == "adapter" else None)
    if policy.weights == "nccl":
        return served, None
    assert policy.served is not None
    kind = AdapterWeightSync if policy.weights == "adapter" else DiskWeightSync
    return served, kind(policy.served, policy.servers, api_key=os.environ.get("VLLM_API_KEY"))


def vllm_of(recipe: Recipe, adapter: str | None) -> VllmPolicy:
    """Return what samples from the servers' model, or from an `adapter` on it."""
    return VllmPolicy(
        recipe.policy.servers,
        adapter=adapter,
        settings=HttpSettings(seconds=recipe.limits.request_seconds),
        api_key=os.environ.get("VLLM_API_KEY"),
        seeded=recipe.policy.seeded,
        engines=recipe.cluster.data_parallel,
    )
