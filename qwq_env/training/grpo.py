"""Reinforcement learning: TRL's GRPO on our rollouts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.training.checkpoint_seal import seal
from qwq_env.training.copied_weights import CopiedWeights
from qwq_env.training.curriculum import write_progress
from qwq_env.training.model_card import write_model_card
from qwq_env.training.placement import (
    autocast,
    computed_in,
    keep_float32,
    loading,
    lora_config,
    weights_in,
)
from qwq_env.training.progress import Phase
from qwq_env.training.recipe import Recipe
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.trackers import Trackers, is_step
from qwq_env.training.trainer import ToolGRPOTrainer
from qwq_env.training.updates import updates_of
from qwq_env.training.weights.nccl import send_as
from qwq_env.versions import check_trainer, checkpointing_argument


def make_trainer(
    model: Any,
    tokenizer: Any,
    rollouts: Rollouts,
    recipe: Recipe,
    folder: RunFolder,
    *,
    world: int,
    phase: Phase,
    copied: CopiedWeights | None = None,
) -> ToolGRPOTrainer:
    """Return a trainer of `model` that takes its episodes from `rollouts`.

    Without a model the trainer loads the checkpoint, once it knows how that lies on the processes.
    What `copied` has is kept with its checkpoints.
    Raises `UsageError` if the installed TRL has no place for the episodes.
    """
    check_trainer(ToolGRPOTrainer)
    paid = recipe.grpo.reward == "environment"
    arguments = grpo_config(recipe, folder.checkpoints, world=world)
    if arguments.device.type == "cpu" and arguments.device.index is not None:
        # Accelerate numbers it by rank; torch reads no optimizer's state to a CPU with a number.
        vars(arguments)["_setup_devices"] = torch.device("cpu")
    if model is None:
        # By name, for the arguments are written as JSON.
        dtype = str(weights_in(recipe)).removeprefix("torch.")
        arguments.model_init_kwargs = {**loading(recipe), "dtype": dtype}
    callbacks = [StepLog(folder, phase), Seals(rollouts.env, copied), Trackers(recipe, folder.path)]
    try:
        trainer = _Trainer(
            model=recipe.policy.checkpoint if model is None else model,
            args=arguments,
            peft_config=lora_config(recipe),
            processing_class=tokenizer,
            train_dataset=rollouts.dataset,
            rollout_func=rollouts,
            reward_funcs=rollouts.reward if paid else RandomReward(rollouts, recipe.seed),
            callbacks=callbacks,
        )
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        # What of the recipe TRL or PEFT refuse only once they see the model.
        raise UsageError(f"grpo, policy: {' '.join(str(error).split())}") from None
    if recipe.grpo.micro_batch_tokens is not None:
        trainer.split_by_tokens(recipe.grpo.micro_batch_tokens)
    if recipe.policy.weights == "nccl" and recipe.policy.lora is None:
        send_as(trainer, computed_in(recipe))
    trainer.recipe, trainer.folder = recipe, folder
    # Its rows go to metrics.jsonl and the newest to the progress bar; on the screen they bury it.
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Trainer(ToolGRPOTrainer):
    """The trainer with a model card that says what was run; it writes one at each checkpoint."""

    recipe: Recipe
    folder: RunFolder

    def create_accelerator_and_postprocess(self) -> None:
        """Do as Transformers does; before any model is sharded, the reference's too."""
        super().create_accelerator_and_postprocess()
        keep_float32(self.accelerator)

    def create_model_card(self, *names: Any, **rest: Any) -> None:
        """Write the card beside the checkpoints."""
        if self.is_world_process_zero():
            write_model_card(Path(self.args.output_dir), self.folder, self.recipe)


def grpo_config(recipe: Recipe, output: Path, *, world: int) -> GRPOConfig:
    """Return TRL's settings for a recipe; see `recipe/schema.py` for what each key means."""
    grpo = recipe.grpo
    cuda = torch.cuda.is_available()
    updates = updates_of(recipe, world)
    try:
        return GRPOConfig(
            output_dir=str(output),
            max_steps=grpo.steps,
            per_device_train_batch_size=grpo.rows(world),
            gradient_accumulation_steps=grpo.accumulation or updates.batches,
            steps_per_generation=updates.batches,
            num_generations=grpo.group,
            max_completion_length=grpo.max_completion_tokens,
            temperature=grpo.temperature,
            beta=grpo.beta,
            learning_rate=grpo.learning_rate,
            lr_scheduler_type=grpo.schedule,
            max_grad_norm=grpo.max_grad_norm,
            bf16=autocast(recipe),
            use_cpu=not cuda,
            dataloader_pin_memory=cuda,
            seed=recipe.seed,
            data_seed=recipe.seed,
            logging_steps=1,
            save_strategy="steps",
            # A run that goes on plays a new batch: a checkpoint lies between two of them.
            save_steps=updates.whole(grpo.save_steps),
            save_total_limit=2,
            ddp_timeout=recipe.limits.patience,
            report_to=[],
            disable_tqdm=True,
            log_completions=False,
            **{checkpointing_argument(GRPOConfig): grpo.gradient_checkpointing},
            **{**_sampler_settings(recipe), **_sharding_settings(recipe), **grpo.trl},
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"grpo.trl: {' '.join(str(error).split())}") from None


def _sampler_settings(recipe: Recipe) -> dict[str, Any]:
    """Return what TRL is to know of servers: whether to weigh what they sampled, by ratios of 2 at
    most (`Rollouts` says which ratios), and NCCL's address.
    """
    policy = recipe.policy
    settings: dict[str, Any] = {
        "vllm_importance_sampling_correction": recipe.grpo.correction != "none",
        "vllm_importance_sampling_clip_max": 2.0,
    }
    if policy.weights == "nccl":
        settings |= {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_base_url": next(iter(policy.servers), None),
        }
    return settings


def _sharding_settings(recipe: Recipe) -> dict[str, Any]:
    """Return that gradients are shared out after each micro-batch, where weights are.

    By default accelerate waits for the last one of a step, and until then each process holds the
    whole gradient, in the type that is computed in: 65 GB of 32 billion weights.
    """
    if not recipe.cluster.sharded:
        return {}
    return {"accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}}}


class StepLog(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Writes each step's metrics to the run's folder and moves the progress bar."""

    def __init__(self, folder: RunFolder, phase: Phase) -> None:
        self._folder = folder
        self._phase = phase

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Append the row of a step, and say that it is done."""
        if not state.is_world_process_zero or not is_step(logs):
            return
        row = {"step": state.global_step, **logs}
        with self._folder.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._phase.advance(note=_note(logs))


def _note(row: Mapping[str, Any]) -> str:
    """Return what the bar says of a step; nothing new of one that learns from a batch again."""
    if "reward" not in row:
        return ""
    tools = row.get("episode/tool_call_rate", 0.0)
    reward = row["reward"]  # None where no episode of the step has one
    paid = "none" if reward is None else f"{reward:.2f}"
    return f"reward {paid}  tools {tools:.2f}"


class Seals(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Marks each checkpoint as whole once every process has written its part.

    The state of the environment's curriculum, which all have alike, is a part of it, and so are
    the weights that the sampler lies behind.
    """

    def __init__(self, env: ToolEnv, copied: CopiedWeights | None) -> None:
        self._env, self._copied = env, copied

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Seal the checkpoint of this step; the trainer has just written it."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_progress(self._env, checkpoint)
            if self._copied is not None:
                self._copied.write(checkpoint)
            seal(checkpoint)


class RandomReward:
    """The control: pays 1 or 0 by lot. What rises under it was not learned from outcomes.

    An episode's lot hangs on its seed alone: a run that goes on draws as one that never stopped.
    """

    __name__ = "reward"

    def __init__(self, rollouts: Rollouts, seed: int) -> None:
        self._rollouts = rollouts
        self._seed = seed

    def __call__(
        self,
        prompts: Any,
        completions: Any,
        episode_reward: list[float | None],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Pay by lot; the true rewards go to the log as `episode/scores/...`."""
        self._rollouts.reward(prompts, completions, episode_reward, log_metric)
        return [self._lot(episode.seed) for episode in self._rollouts.last]

    def _lot(self, episode_seed: int) -> float:
        return float(random.Random(f"lot {self._seed}/{episode_seed}").random() < 0.5)
