"""What keys of a recipe must have to do with each other; each rule raises `UsageError`, one line.

A section calls its own rule when it is made, and the whole recipe `check_whole`. What a single key
may be is its type, in `schema.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.training.gpus import gpu_kind
from qwq_env.training.limits import WallLimits, check_order
from qwq_env.training.recipe.seconds import batch_seconds, patience, request_seconds
from qwq_env.training.recipe.trl_fields import check_trl

if TYPE_CHECKING:
    from qwq_env.training.recipe.schema import (
        ClusterRecipe,
        ColdStartRecipe,
        GrpoRecipe,
        PolicyRecipe,
        Recipe,
    )

_TRACKERS: Final = ("trackio", "wandb", "tensorboard")
_WEEK: Final = 604_800


def check_whole(recipe: Recipe) -> None:
    """Check what sections must have to do with each other."""
    check_name("recipe: name", recipe.name)
    for name in recipe.report_to:
        if name not in _TRACKERS:
            raise unknown("report_to", name, _TRACKERS)
    if recipe.seed >= 2**32:
        raise UsageError(f"recipe: seed: {recipe.seed}; expected less than 2**32")
    _check_sampler(recipe)
    _check_cold_start(recipe)
    _check_limits(recipe)
    grpo, world = recipe.grpo, recipe.cluster.train or 1
    if recipe.cluster.gpus and grpo.episodes % (world * grpo.group):
        raise UsageError(
            f"grpo.episodes: {grpo.episodes}; expected a multiple of grpo.group ({grpo.group})"
            f" times the GPUs that train ({world})"
        )
    grpo.rows(world)


def check_name(where: str, name: str, *taken: str) -> None:
    """Check that a name is that of one folder, and none of those `taken` otherwise."""
    if name in (".", "..", *taken) or not re.fullmatch(r"[^/\\\0]{1,100}", name):
        but = "".join(f", not {each!r}" for each in taken)
        raise UsageError(f"{where}: {brief(name)}; expected the name of one folder{but}")


def check_policy(policy: PolicyRecipe) -> None:
    """Check the tiny policy's shape, and that what samples and how weights get there agree."""
    # Positions are rotated in pairs of dimensions, so a head has an even number of them.
    if policy.hidden % (2 * policy.heads):
        raise UsageError(
            f"policy.hidden: {policy.hidden}; expected a multiple of twice policy.heads"
            f" ({policy.heads})"
        )
    if policy.heads % policy.key_value_heads:
        raise UsageError(
            f"policy.heads: {policy.heads}; expected a multiple of policy.key_value_heads"
            f" ({policy.key_value_heads})"
        )
    if policy.sampling_dtype != "same" and (policy.lora is not None or policy.sampler == "vllm"):
        raise UsageError(
            f"policy.sampling_dtype: {policy.sampling_dtype!r}; expected 'same' with policy.lora"
            " or policy.sampler=vllm"
        )
    if policy.sampler == "transformers":
        if policy.attention == "flash_attention_2":
            raise UsageError(
                "policy.attention: 'flash_attention_2'; expected sdpa or eager where the model"
                " itself samples, or policy.sampler=vllm"
            )
        return
    if policy.weights != "nccl" and policy.served is None:
        raise UsageError(
            "policy.sampler: 'vllm' needs policy.servers and policy.served, the folder through"
            f" which weights travel (policy.weights={policy.weights})"
        )
    if (policy.weights == "adapter") != (policy.lora is not None):
        raise UsageError(
            f"policy.weights: {policy.weights!r}; expected 'adapter' with policy.lora, and only"
            " then: servers take adapters, or whole weights"
        )
    if policy.weights == "nccl" and len(policy.servers) > 1:
        raise UsageError(
            f"policy.servers: {len(policy.servers)}; expected one, for TRL's NCCL connection has"
            " one address (more engines: cluster.data_parallel)"
        )


def check_cluster(cluster: ClusterRecipe) -> None:
    """Check that the GPUs that serve hold whole servers, each on one node."""
    if cluster.kind is not None:
        gpu_kind(cluster.kind, "cluster.kind")
    total, engine = cluster.nodes * cluster.gpus, cluster.tensor_parallel * cluster.data_parallel
    if cluster.gpus == 0:
        for name in ("nodes", "kind", "serve", "tensor_parallel", "data_parallel", "strategy"):
            default = type(cluster).__dataclass_fields__[name].default
            if getattr(cluster, name) != default:
                raise UsageError(
                    f"cluster.{name}: {getattr(cluster, name)}; expected {default} without GPUs"
                    " (cluster.gpus)"
                )
    elif cluster.serve >= total:
        raise UsageError(
            f"cluster.serve: {cluster.serve}; expected less than all {total} GPUs: some must train"
        )
    if cluster.serve == 0 and engine > 1:
        raise UsageError(
            f"cluster.serve: 0; expected GPUs for tensor_parallel × data_parallel ({engine})"
        )
    if cluster.serve and (
        cluster.serve % engine or engine > cluster.gpus or _straddles(cluster, engine)
    ):
        raise UsageError(
            f"cluster.serve: {cluster.serve}; expected servers of tensor_parallel × data_parallel"
            f" ({engine}) GPUs, each on one node of {cluster.gpus}"
        )
    if cluster.port > 64_000:
        raise UsageError(f"cluster.port: {cluster.port}; expected at most 64000")


def check_cold_start(cold: ColdStartRecipe) -> None:
    """Check that one key says where the transcripts come from."""
    if cold.demonstrations is not None and cold.source != "teacher":
        raise UsageError(
            f"cold_start.source: {cold.source!r}; expected it, or cold_start.demonstrations,"
            " not both"
        )


def check_grpo(grpo: GrpoRecipe) -> None:
    """Check how a batch is cut into groups and micro-batches, and TRL's own fields."""
    if grpo.group < 2 or grpo.episodes % grpo.group:
        raise UsageError(
            f"grpo.episodes: {grpo.episodes}; expected a multiple of grpo.group"
            f" ({grpo.group}), which is 2 or more"
        )
    if grpo.micro_batch is not None and grpo.micro_batch_tokens is not None:
        raise UsageError("grpo.micro_batch_tokens: expected it, or grpo.micro_batch, not both")
    if grpo.micro_batch_tokens is not None and grpo.micro_batch_tokens < grpo.context:
        raise UsageError(
            f"grpo.micro_batch_tokens: {grpo.micro_batch_tokens}; expected at least"
            f" grpo.context ({grpo.context}), for a row may be that long"
        )
    if grpo.dynamic < 1:
        raise UsageError(f"grpo.dynamic: {grpo.dynamic:g}; expected 1 or more")
    check_trl(grpo.trl)


def check_batch_seconds(where: str, seconds: float) -> None:
    """Check that a batch takes no more than a week."""
    if seconds > _WEEK:
        raise UsageError(f"{where}: {seconds:g}; expected at most {_WEEK}, a week")


def _straddles(cluster: ClusterRecipe, engine: int) -> bool:
    """Whether a server of `engine` GPUs would lie on two nodes."""
    starts = range(cluster.train, cluster.train + cluster.serve, engine)
    return any(start // cluster.gpus != (start + engine - 1) // cluster.gpus for start in starts)


def _check_sampler(recipe: Recipe) -> None:
    cluster, policy = recipe.cluster, recipe.policy
    if policy.sampler == "transformers" and cluster.sharded:
        raise UsageError(
            f"cluster.strategy: {cluster.strategy!r} leaves no process a whole model to sample"
            " from; expected policy.sampler=vllm"
        )
    if policy.sampler == "vllm" and recipe.rollout.staleness:
        raise UsageError(
            f"rollout.staleness: {recipe.rollout.staleness}; expected 0 with policy.sampler=vllm,"
            " whose weights are pushed before each step"
        )
    if (policy.sampler == "vllm") != bool(cluster.serve) and cluster.gpus:
        raise UsageError(
            f"cluster.serve: {cluster.serve}; expected GPUs that serve with"
            " policy.sampler=vllm, and none without"
        )
    if cluster.sharded and policy.checkpoint == "tiny":
        raise UsageError(f"cluster.strategy: {cluster.strategy!r}; expected ddp for 'tiny'")


def _check_cold_start(recipe: Recipe) -> None:
    policy, cold, steps = recipe.policy, recipe.cold_start, recipe.cold_steps
    if steps and recipe.cluster.sharded:
        raise UsageError(
            f"cold_start.steps: {steps}; expected 0 with cluster.strategy"
            f" {recipe.cluster.strategy!r}: start from the cold/ of a run that is not sharded"
        )
    if steps and policy.sampler == "vllm" and policy.weights == "adapter":
        raise UsageError(
            f"cold_start.steps: {steps}; expected 0 with policy.weights 'adapter', for the servers"
            " have the checkpoint: serve the cold/ of a run without servers"
        )
    asks = {"frozen_layers": cold.frozen_layers, "source": cold.source == "rejection"}
    for name, said in asks.items():
        if said and policy.checkpoint == "tiny":
            raise UsageError(f"cold_start.{name}: expected a policy.checkpoint to start from")
    if cold.frozen_layers and policy.lora is not None:
        raise UsageError(
            "cold_start.frozen_layers: expected it, or policy.lora, not both: an adapter leaves all"
            " weights as they are"
        )


def _check_limits(recipe: Recipe) -> None:
    """Check that no limit ends after the one it lies in."""
    check_batch_seconds("limits.batch", batch_seconds(recipe))
    limits = WallLimits(
        episode=recipe.limits.episode,
        batch=batch_seconds(recipe),
        request=request_seconds(recipe),
        ddp=float(patience(recipe)),
    )
    check_order(limits, ("tool", "limits.episode", "limits.batch", "limits.request", "limits.ddp"))
