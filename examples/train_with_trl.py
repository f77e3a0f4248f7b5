"""Hand an environment to a stock `trl.GRPOTrainer`.

    python examples/train_with_trl.py CHECKPOINT [--steps 20]

CHECKPOINT is a folder or a hub id; `make train` leaves a tiny one in runs/tiny/cold. For a policy
on vLLM servers pass `policy=lambda trainer: VllmPolicy(["http://host:8000", ...])` to `Rollouts`.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from qwq_env import Rollouts


def main(argv: list[str] | None = None) -> None:
    """Train for a few steps and print the rewards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args(argv)

    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    rollouts = Rollouts("qwq/MathTool-v0", tokenizer, size=1000, context=1024)
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            args=GRPOConfig(
                output_dir=folder, max_steps=arguments.steps, per_device_train_batch_size=32,
                num_generations=8, max_completion_length=160, learning_rate=5e-4, beta=0.0,
                lr_scheduler_type="constant", gradient_checkpointing=False, logging_steps=1,
                save_strategy="no", report_to=[], use_cpu=not torch.cuda.is_available(),
                bf16=torch.cuda.is_available(), disable_tqdm=True,
            ),
            processing_class=tokenizer,
            train_dataset=rollouts.dataset,
            rollout_func=rollouts,
            reward_funcs=rollouts.reward,
        )  # fmt: skip
        trainer.train()
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    print("mean reward by step:", " ".join(f"{reward:.2f}" for reward in rewards))
    rollouts.close()


if __name__ == "__main__":
    main()
