"""TRL's importance correction, for episodes that something else than the trained model sampled.

A server computes in other kernels, often in half precision, so what it samples has a slightly
other probability than the trainer gives it; in long episodes that adds up. TRL weighs each token
by the ratio of the two (`GRPOConfig.vllm_importance_sampling_...`), but only with `use_vllm=True`,
and then its constructor wants a vLLM beside it and a NCCL connection. `correct_importance` switches
on the correction alone; `Rollouts` calls it wherever a server samples, or a copy of the model.

The mode is by token. TRL's default multiplies the ratios of an episode and masks it beyond a bound:
with a mismatch of 1 % a token the weight of 16,000 tokens is 0.37, that of 128,000 is 0.001, so
that long episodes are erased.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from qwq_env.errors import UsageError
from qwq_env.training.sampling import sampling_of

Correction = Literal[
    "token_truncate",
    "token_mask",
    "sequence_truncate",
    "sequence_mask",
    "geometric_truncate",
    "geometric_mask",
]
"""Over what a ratio is taken (a token; an episode, as the product over its tokens; or as their
geometric mean), and what becomes of one beyond the bounds: it is cut off, or its tokens left out.
The geometric ones are ours, the others TRL's."""

GEOMETRIC: Final = frozenset({"geometric_truncate", "geometric_mask"})


class _NothingToSync:
    """Stands where TRL keeps its connection; weights travel by `Rollouts`' own `WeightSync`."""

    def sync_weights(self) -> None:
        """Do nothing."""


def correct_importance(trainer: Any, mode: Correction = "token_truncate") -> None:
    """Let `trainer` weigh tokens by training over sampling probability, from its next batch on.

    Call it between making the trainer and `train()`, on every rank, for a policy of your own that
    samples elsewhere and does not say so (`Policy.differs_from`). Raises `UsageError` for a trainer
    that takes its episodes from elsewhere, has switched the correction off, or filters, and for a
    geometric mode unless it is a `ToolGRPOTrainer`.
    """
    if trainer.rollout_func is None:
        raise UsageError("rollout_func: none; expected a trainer on Rollouts")
    if not trainer.vllm_importance_sampling_correction:
        raise UsageError("vllm_importance_sampling_correction: False; expected True")
    sampling_of(trainer.args)
    if mode not in GEOMETRIC:
        trainer.vllm_importance_sampling_mode = mode
    elif getattr(trainer, "weighs_rows", False):
        trainer.correct_by_mean(mode)
    else:
        raise UsageError(f"correction: {mode!r}; expected a ToolGRPOTrainer for it")
    if trainer.use_vllm:
        return
    trainer.vllm_mode = "server"
    trainer.vllm_generation = _NothingToSync()
    trainer._last_loaded_step = -1
    trainer.use_vllm = True
