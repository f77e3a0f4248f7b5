"""TRL's importance correction, for episodes that a server of our own sampled.

A server computes in other kernels, often in half precision, so what it samples has a slightly
other probability than the trainer gives it; in long episodes that adds up. TRL weighs each token
by the ratio of the two (`GRPOConfig.vllm_importance_sampling_...`), but only with `use_vllm=True`,
and then its constructor wants a vLLM beside it and a NCCL connection. `correct_importance` switches
on the correction alone. Without it nothing is wrong as long as both sides compute the same: fp32
on CPU agrees to 1e-6, and there the extra forward pass is spent for nothing.
"""

from __future__ import annotations

from typing import Any

from qwq_env.errors import UsageError
from qwq_env.training.sampling import sampling_of


class _NothingToSync:
    """Stands where TRL keeps its connection; weights travel by `Rollouts`' own `WeightSync`."""

    def sync_weights(self) -> None:
        """Do nothing."""


def correct_importance(trainer: Any) -> None:
    """Let `trainer` weigh tokens by training over sampling probability, from its next batch on.

    Call it once between making the trainer and `train()`, on every rank. Raises `UsageError` for
    a trainer that takes its episodes from elsewhere, has switched the correction off, or filters.
    """
    if trainer.rollout_func is None:
        raise UsageError("rollout_func: none; expected a trainer on Rollouts")
    if not trainer.vllm_importance_sampling_correction:
        raise UsageError("vllm_importance_sampling_correction: False; expected True")
    sampling_of(trainer.args)
    if trainer.use_vllm:
        return
    trainer.vllm_mode = "server"
    trainer.vllm_generation = _NothingToSync()
    trainer._last_loaded_step = -1
    trainer.use_vllm = True
