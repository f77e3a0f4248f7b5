"""What samples where a user of `Rollouts` names no policy: TRL's own server, or the model."""

from __future__ import annotations

from typing import Any

from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.policy import Policy
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.rollout.vllm_policy import VllmPolicy


def own_sampler(trainer: Any, slots: int = 64) -> Policy:
    """Return a policy on the server that TRL pushes its weights to, if it has one (`use_vllm`);
    else one on the model that is trained, in this process, `slots` turns at a time.

    Raises `UsageError` for a model that cannot be sampled here.
    """
    arguments = trainer.args
    if arguments.use_vllm:
        address = f"http://{arguments.vllm_server_host}:{arguments.vllm_server_port}"
        return VllmPolicy(arguments.vllm_server_base_url or address)
    model = trainer.accelerator.unwrap_model(trainer.model)
    return TransformersPolicy(model, TokenCodec(trainer.processing_class), slots=slots)
