"""A GRPOTrainer on CPU, stock or ours, that keeps the batch it would learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from qwq_env.training.rollouts import Rollouts
from qwq_env.training.trainer import ToolGRPOTrainer


class Recording:
    """Keeps its last batch in `batch`."""

    def _generate_and_score_completions(self, inputs):
        self.batch = super()._generate_and_score_completions(inputs)
        return self.batch


class Recorder(Recording, GRPOTrainer):
    """TRL's trainer, and its last batch."""


class ToolRecorder(Recording, ToolGRPOTrainer):
    """Ours, and its last batch."""


def train(model: Any, tokenizer: Any, path: Path, rollouts: Rollouts, **changes: Any) -> Any:
    """Train one step, with `changes` of the configuration; return the trainer."""
    trainer = stock_trainer(model, tokenizer, path, rollouts, **changes)
    trainer.train()
    return trainer


def stock_trainer(
    model: Any,
    tokenizer: Any,
    path: Path,
    rollouts: Rollouts,
    *,
    kind: type[GRPOTrainer] = Recorder,
    eval_dataset: Any = None,
    **changes: Any,
) -> Any:
    """Return the trainer of one step, with `changes` of the configuration."""
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 400,
        "max_steps": 1, "logging_steps": 1, "save_strategy": "no",
    }  # fmt: skip
    config = GRPOConfig(
        output_dir=str(path), use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
        beta=0.0, gradient_checkpointing=False,
        **{**settings, **changes},
    )  # fmt: skip
    return kind(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=rollouts.dataset,
        eval_dataset=eval_dataset,
        rollout_func=rollouts,
        reward_funcs=rollouts.reward,
    )
