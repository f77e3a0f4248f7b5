"""In what precision a policy is trained, on which device, and whether as a whole.

Weights that are trained are float32 (`grpo.fp32_masters`) whatever is computed in: at a learning
rate of 1e-6 a step is smaller than the distance of two bfloat16 numbers, and 0.2 % of such weights
move where 99.7 % should. Weights that are not, below adapters, take no more than they must.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from typing import Any

import torch

from qwq_env.errors import UsageError
from qwq_env.training.recipe import Recipe


def computed_in(recipe: Recipe) -> torch.dtype:
    """Return the type of activations."""
    wanted, cuda = recipe.policy.dtype, torch.cuda.is_available()
    if wanted == "auto" or (wanted == "fast" and not cuda):
        half = cuda or (wanted == "fast" and has_fast_bfloat16())
    else:
        half = wanted != "float32"
    return torch.bfloat16 if half else torch.float32


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 (AVX512-BF16, AMX).

    One that does not takes some 40 times as long for them as for float32.
    """
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def slow_type(recipe: Recipe) -> str | None:
    """Return a line for a recipe that asks this CPU for what it does slowly, None for others."""
    if recipe.policy.dtype != "bfloat16" or torch.cuda.is_available() or has_fast_bfloat16():
        return None
    return (
        "policy.dtype: bfloat16, for which this CPU has no instructions: it takes some 40 times as"
        " long as float32 (policy.dtype=fast takes what there are instructions for)"
    )


def weights_in(recipe: Recipe) -> torch.dtype:
    """Return the type that the checkpoint's weights are loaded in."""
    trained = recipe.policy.lora is None
    return torch.float32 if trained and recipe.grpo.fp32_masters else computed_in(recipe)


def autocast(recipe: Recipe) -> bool:
    """Whether what is computed in bfloat16 is not so by its weights alone."""
    masters = recipe.policy.lora is not None or recipe.grpo.fp32_masters
    return computed_in(recipe) is torch.bfloat16 and masters


def loading(recipe: Recipe) -> dict[str, Any]:
    """Return what `from_pretrained` is to be told."""
    return {"dtype": weights_in(recipe), "attn_implementation": recipe.policy.attention}


def cast_state(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return a model's weights in another type; what shared its memory shares it again."""
    cast: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for tensor in state.values():
        known = (tensor.data_ptr(), tensor.shape)
        if known not in cast:
            cast[known] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return {name: cast[tensor.data_ptr(), tensor.shape] for name, tensor in state.items()}


def keep_float32(accelerator: Any) -> None:
    """Let FSDP2 and ZeRO-3 add gradients up in float32, over processes and over micro-batches, and
    FSDP2 hand out what a model computes as it is.

    By themselves both add up in the type that is computed in: what is less than 1/256 of a sum in
    bfloat16 is lost. And FSDP2 rounds a log-probability of -5 by up to 0.016, as much as a server
    and a trainer are apart. Called before a model is sharded.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(fsdp, "mixed_precision_policy", None)
    if fsdp is not None and fsdp.fsdp_version == 2 and policy is not None:
        fsdp.mixed_precision_policy = dataclasses.replace(
            policy, reduce_dtype=torch.float32, output_dtype=None
        )
    zero = getattr(accelerator.state, "deepspeed_plugin", None)
    if zero is not None and accelerator.mixed_precision == "bf16":
        zero.deepspeed_config["data_types"] = {"grad_accum_dtype": "fp32"}
        zero.deepspeed_config["communication_data_type"] = "fp32"


def lora_config(recipe: Recipe) -> Any:
    """Return PEFT's settings of the adapters, None where all weights are trained."""
    lora = recipe.policy.lora
    if lora is None:
        return None
    peft: Any = importlib.import_module("peft")  # optional
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.targets is None else lora.targets,
    )


def check_placement(recipe: Recipe, processes: int) -> None:
    """Hold the recipe against the processes that were started. Raises `UsageError`."""
    cluster = recipe.cluster
    policy = recipe.policy
    for key, package, wanted in (
        ("lora", "peft", policy.lora is not None),
        ("attention", "flash_attn", policy.attention == "flash_attention_2"),
        ("weights", "vllm", policy.sampler == "vllm" and policy.weights == "nccl"),
        ("strategy", "deepspeed", cluster.strategy == "zero3"),
        ("trl.use_liger_kernel", "liger_kernel", recipe.grpo.trl.get("use_liger_kernel")),
    ):
        if wanted and importlib.util.find_spec(package) is None:
            section = {"strategy": "cluster", "trl.use_liger_kernel": "grpo"}.get(key, "policy")
            raise UsageError(f"{section}.{key}: {package} is not installed; pip install {package}")
    started = _strategy_started()
    # On a laptop nothing need be said of how the processes share a model.
    if started != cluster.strategy:
        raise UsageError(
            f"cluster.strategy: {cluster.strategy!r}; accelerate started {started!r}"
            " (qwq launch writes the command)"
        )
    if not cluster.gpus:
        return
    if not torch.cuda.is_available():
        raise UsageError(f"cluster.gpus: {cluster.gpus}; this machine has none")
    if processes != cluster.train:
        raise UsageError(
            f"cluster: {cluster.train} GPUs train; {processes} processes were started"
            " (qwq launch writes the command)"
        )


def _strategy_started() -> str:
    """Return the strategy that `accelerate launch` told this process."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
        return f"zero{stage}"
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return f"fsdp{os.environ.get('FSDP_VERSION', '1')}"
    return "ddp"
