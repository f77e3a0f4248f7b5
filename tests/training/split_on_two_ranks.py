"""What each of two ranks does for `test_split_by_tokens.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from ..byte_tokenizer import byte_tokenizer
from ..ranks import leave
from .stock_trainer import ToolRecorder, stock_trainer
from .watched_step import answering, flat, watched_model

TEXTS = (["1" * 300, "1", "0" * 100, "0"], ["1" * 100, "0", "1", "0" * 20])
"""Of each rank. One of them is right in any group, so all teach."""


def compare(out: Path) -> None:
    """Train a step as a whole and in parts; write what is apart, and what each pass took."""
    rank = PartialState(cpu=True).process_index
    whole, passes, met = trained(out, rank, None)
    parts, passes_of_parts, met_of_parts = trained(out, rank, 340)
    result = {
        "apart": (parts[0] - whole[0]).norm().item(), "moved": (whole[0] - whole[1]).norm().item(),
        "weights": parts[0].double().sum().item(), "whole": passes, "parts": passes_of_parts,
        "met": [met, met_of_parts],
    }  # fmt: skip
    (out / f"{rank}.json").write_text(json.dumps(result))
    leave()


def trained(out: Path, rank: int, most: int | None) -> Any:
    """Return the weights after and before the step, (rows, width) of each pass, and how often
    gradients were shared out."""
    tokenizer, met = byte_tokenizer(), list[int]()
    model, before, passes = watched_model(tokenizer)
    trainer = stock_trainer(
        model, tokenizer, out / f"{rank}", answering(tokenizer, TEXTS[rank]), kind=ToolRecorder,
        per_device_train_batch_size=4, learning_rate=0.1, optim="sgd",
    )  # fmt: skip
    if most:
        trainer.split_by_tokens(most)

    def shared_out(group, bucket):
        met.append(bucket.index())
        return allreduce_hook(group, bucket)

    prepare = trainer.accelerator.prepare_model

    def prepared(*given: Any, **named: Any) -> Any:
        wrapped = prepare(*given, **named)
        wrapped.register_comm_hook(None, shared_out)
        return wrapped

    trainer.accelerator.prepare_model = prepared
    trainer.train()
    return (flat(model), before), passes, len(met)
