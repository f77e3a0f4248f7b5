"""The parts of `gpu.py`, each run in a process of its own: `_gpu_parts.py PART SECONDS [--small]`.

Prints what it found as JSON on its last line, and before that what it has found so far.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def numerics(small: bool, seconds: float) -> dict[str, Any]:
    """Return mean difference and KL by depth, of a random decoder in each precision."""
    from qwq_env.evaluation.numerics_sampler import check_checkpoint
    from qwq_env.registry import make_environment

    context, depth = (512, 128) if small else (32_768, 4096)
    environment = make_environment("qwq/MathTool-v0")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        _decoder(Path(folder), context, small=small)
        for dtype in ("bfloat16", "float32"):
            report = check_checkpoint(
                folder, environment, dtype=dtype, context=context, width=depth,
                episodes=2 if small else 4,
            )  # fmt: skip
            rows = [dataclasses.asdict(each) for each in (*report.depths, report.total)]
            found[dtype] = {"bound": report.bound._asdict(), "faults": report.faults, "rows": rows}
            print(json.dumps(found), flush=True)
    return found


def _decoder(folder: Path, context: int, *, small: bool) -> None:
    """Save a decoder of random weights, as peaked as a trained one is, and its tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    _, tokenizer = _tiny()
    sizes = (64, 128, 2, 4) if small else (1024, 4096, 16, 16)
    hidden, intermediate, layers, heads = sizes
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=intermediate,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads // 2,
        max_position_embeddings=context, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    model.lm_head.weight.data *= 5 * hidden**0.5 / model.lm_head.weight.data.norm(dim=1).mean()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tiny() -> tuple[Any, Any]:
    """Return the tiny policy, untrained, and its tokenizer."""
    from qwq_env.registry import make_environment
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.lessons import tiny_lessons
    from qwq_env.training.tiny.policy import build_tiny_policy

    lessons = tiny_lessons(make_environment("qwq/MathTool-v0"), 256, difficulty=1, seed=0)
    model, tokenizer = build_tiny_policy(lessons, PolicyRecipe(), seed=0)
    return model, tokenizer


def lora(small: bool, seconds: float) -> dict[str, Any]:
    """Return the peak of ten steps on adapters beside the plan's, and the seconds of a step."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, TrainerCallback

    from qwq_env.training.shapes import _KNOWN, read_shape

    said: dict[str, Any] = dict(_KNOWN["qwq-32b"])
    if small:
        said |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        said |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024}
    shape = read_shape(said, "config")
    length, planned = _longest_row(shape, small=small)
    cuda = torch.cuda.is_available()
    with torch.device("cuda" if cuda else "cpu"):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**said), dtype=torch.bfloat16)
    trainer = _adapted(model, length)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()

    def told(steps: int) -> dict[str, Any]:
        found = {
            "parameters": shape.parameters, "row": length, "steps": steps,
            "seconds_a_step": (time.monotonic() - began) / steps, "planned_bytes": planned,
        }  # fmt: skip
        return {**found, "peak_bytes": torch.cuda.max_memory_allocated()} if cuda else found

    class Tells(TrainerCallback):  # type: ignore[misc]  # its package is read without types
        """Prints what has been found after each step."""

        def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
            """Print it."""
            print(json.dumps(told(state.global_step)), flush=True)

    trainer.add_callback(Tells())
    trainer.train()
    return told(trainer.state.global_step)


def _longest_row(shape: Any, *, small: bool) -> tuple[int, float]:
    """Return the longest row that the plan says fits here, and the bytes that it says are taken."""
    import torch

    from qwq_env.training.plan import read_gpus, sides_of
    from qwq_env.training.recipe import load_recipe

    most = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 64e9
    for length in (256,) if small else (16_384, 12_288, 8_192, 4_096):
        recipe = load_recipe(
            ROOT / "recipes" / "qwq-32b-lora.yaml",
            ["policy.sampler=transformers", "policy.weights=disk", "policy.served=null",
             "cluster.gpus=1", "cluster.serve=0", "cluster.tensor_parallel=1",
             "cluster.strategy=ddp", "policy.lora.rank=16", f"grpo.context={length}",
             f"grpo.max_completion_tokens={length // 2}", "grpo.episodes=2", "grpo.group=2"],
        )  # fmt: skip
        [side] = sides_of(recipe, shape, read_gpus("1xH100"))
        # What is sampled elsewhere needs no cache here, and the allocator's own is in no count.
        taken = sum(x.bytes for x in side.lines if x.name not in ("KV cache", "reserved"))
        if taken + 3e9 < most:
            return length, taken
    raise SystemExit(f"lora: {most / 1e9:.0f} GB hold no row of 4096 tokens")


def _adapted(model: Any, length: int) -> Any:
    """Return our trainer of adapters on `model`, whose episodes are two random rows of `length`."""
    import random

    from peft import LoraConfig
    from trl import GRPOConfig

    from qwq_env import Rollouts
    from qwq_env.outcome import Outcome
    from qwq_env.training import ToolGRPOTrainer
    from qwq_env.training.trl_data import to_trl
    from qwq_env.trajectory import TrainingRow, Trajectory

    class Given(Rollouts):
        """Gives rows of random tokens, the second of each pair paid."""

        def __call__(self, prompts: Any, trainer: Any) -> dict[str, list[Any]]:
            drawn = random.Random(trainer.state.global_step)
            self.last = []
            for number in range(len(prompts)):
                ids = [drawn.randrange(256) for _ in range(length)]
                begin, rest = length // 8, length - length // 8
                row = TrainingRow(ids, begin, [1] * rest, [-1.0] * rest)
                paid = float(number % 2)
                self.last.append(
                    Trajectory("t", f"{number}", number, *row, [], Outcome.answered(), paid)
                )
            return to_trl(self.last, self.codec)

    _, tokenizer = _tiny()
    rollouts = Given("qwq/MathTool-v0", tokenizer, size=64, context=length)
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, max_steps=10, num_generations=2, per_device_train_batch_size=1,
            gradient_accumulation_steps=2, max_completion_length=length, learning_rate=1e-5,
            gradient_checkpointing=True, bf16=model.device.type == "cuda", report_to=[],
            save_strategy="no", use_cpu=model.device.type == "cpu", disable_tqdm=True,
        )  # fmt: skip
    adapters = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=16, target_modules="all-linear")
    return ToolGRPOTrainer(
        model=model, args=arguments, peft_config=adapters, processing_class=tokenizer,
        train_dataset=rollouts.dataset, rollout_func=rollouts, reward_funcs=rollouts.reward,
    )  # fmt: skip


def learning(small: bool, seconds: float) -> dict[str, Any]:
    """Return the summary of the real model's recipe, with five times its steps, or what the steps
    that the time held came to."""
    recipe = "tiny" if small else "smollm2-135m"
    asked = ["grpo.steps=100", "evaluation.every=20"]
    few = ["grpo.steps=2", "cold_start.steps=5", "evaluation.tasks=16"]
    command = [sys.executable, "-m", "qwq_env.training", f"recipes/{recipe}.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*command, *(few if small else asked), "--runs", folder], cwd=ROOT,
                capture_output=True, text=True, timeout=max(seconds - 20, 10),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _so_far(Path(folder))
        if done.returncode:
            raise SystemExit(done.stderr.strip().splitlines()[-1])
        [summary] = Path(folder).glob("*/summary.json")
        return dict(json.loads(summary.read_text()))


def _so_far(runs: Path) -> dict[str, Any]:
    """Return what the steps of a run that was ended by its time came to."""
    from qwq_env.training.report import played_rows, read_metrics

    rows = [row for file in runs.glob("*/metrics.jsonl") for row in read_metrics(file)]
    right = [row.get("episode/right") for row in played_rows(rows)]
    return {"ended": False, "steps": len(rows), "right_by_step": right}


class NoServer:
    """Takes TRL's weights nowhere: here the worker samples from a policy of its own."""

    def init_weight_transfer(self) -> None:
        """Connect to nobody."""

    def pause(self) -> None:
        """Hold nobody up."""

    def send_weights(self, weights: Any) -> None:
        """Gather them, which is collective, and let go of them."""
        for _ in weights:
            pass

    def resume(self) -> None:
        """Let nobody go on."""

    def destroy(self) -> None:
        """Part from nobody."""


def asynchronous(small: bool, seconds: float) -> dict[str, Any]:
    """Return the loss of a step of TRL's AsyncGRPO trainer on rows that our worker played.

    Its attention is the hub's kernel `kernels-community/flash-attn3`, which must be in the cache.
    """
    if importlib.util.find_spec("kernels") is None:
        raise SystemExit("async: TRL's trainer needs the package kernels, and its flash-attn3")
    from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.rollout.transformers_policy import TransformersPolicy
    from qwq_env.training import AsyncRollouts

    model, tokenizer = _tiny()
    policy = TransformersPolicy(model, TokenCodec(tokenizer))
    worker = AsyncRollouts("qwq/MathTool-v0", tokenizer, policy, group=4, completion=32)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "tiny"
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        trainer = AsyncGRPOTrainer(
            model=str(base), processing_class=tokenizer, rollout_worker=worker,
            weight_transfer=NoServer(),
            args=AsyncGRPOConfig(output_dir=folder, max_steps=1, report_to=[],
                                 per_device_train_batch_size=8, save_strategy="no"),
        )  # fmt: skip
        trainer.train()
    return {"steps": trainer.state.global_step, "log": trainer.state.log_history[:1]}


PARTS: Mapping[str, Callable[[bool, float], dict[str, Any]]] = {
    "numerics": numerics, "lora": lora, "learning": learning, "async": asynchronous,
}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]]("--small" in sys.argv, float(sys.argv[2]))))
