"""Whole weights over TRL's own connection to a vLLM server, NCCL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from qwq_env.training.weights.shares import whole_of


def send_as(trainer: Any, dtype: torch.dtype) -> None:
    """Let TRL send weights in `dtype`, which servers compute in, and gather them in it.

    By itself it sends what is trained: float32 masters, twice as much. Not for adapters, which it
    adds to the weights before it sends those.
    """
    sender = trainer.vllm_generation

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        for name, weight in trainer.model.named_parameters():
            yield sender._fix_param_name_to_vllm(name), whole_of(weight, dtype)

    sender._iter_named_params = weights


def sync_by_trl(trainer: Any) -> None:
    """Let the server that TRL knows have the weights of this step, once; return when it has them.

    TRL does so by itself only before it asks for the episodes of a step. Collective: every rank
    calls it at the same step, takes part in gathering, and waits for the first, which sends.
    """
    step = trainer.state.global_step
    if step != trainer._last_loaded_step:
        trainer.vllm_generation.sync_weights()
        trainer._last_loaded_step = step  # so that TRL sends them no second time
    # Only the first rank knows that the server is done; the others would sample before it is.
    trainer.accelerator.wait_for_everyone()
