"""A stock GRPOTrainer on CPU that keeps the batch it would learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from qwq_env.training.rollouts import Rollouts


class Recorder(GRPOTrainer):
    """Keeps its last batch in `batch`."""

    def _generate_and_score_completions(self, inputs):
        self.batch = super()._generate_and_score_completions(inputs)
        return self.batch


def train(model: Any, tokenizer: Any, path: Path, rollouts: Rollouts, **changes: Any) -> Recorder:
    """Train one step, with `changes` of the configuration; return the trainer."""
    trainer = stock_trainer(model, tokenizer, path, rollouts, **changes)
    trainer.train()
    return trainer


def stock_trainer(
    model: Any, tokenizer: Any, path: Path, rollouts: Rollouts, **changes: Any
) -> Recorder:
    """Return the trainer of one step, with `changes` of the configuration."""
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 400,
        "max_steps": 1, "logging_steps": 1,
    }  # fmt: skip
    config = GRPOConfig(
        output_dir=str(path), use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
        save_strategy="no", beta=0.0, gradient_checkpointing=False,
        **{**settings, **changes},
    )  # fmt: skip
    return Recorder(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=rollouts.dataset,
        rollout_func=rollouts,
        reward_funcs=rollouts.reward,
    )
