"""`grpo.trl`: fields of TRL's `GRPOConfig`, passed on as they are, each checked by name and type.

The fields are read from TRL's source: importing it takes seconds, and a mistyped name is to be
told at once. What the library sets itself is refused, with the key that says it.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief, did_you_mean

_OURS: Final = {
    "output_dir": "name", "max_steps": "grpo.steps", "num_train_epochs": "grpo.steps",
    "per_device_train_batch_size": "grpo.micro_batch", "auto_find_batch_size": "grpo.micro_batch",
    "gradient_accumulation_steps": "grpo.accumulation", "steps_per_generation": "grpo.episodes",
    "generation_batch_size": "grpo.episodes", "num_generations": "grpo.group",
    "max_completion_length": "grpo.max_completion_tokens", "temperature": "grpo.temperature",
    "beta": "grpo.beta", "learning_rate": "grpo.learning_rate",
    "lr_scheduler_type": "grpo.schedule", "max_grad_norm": "grpo.max_grad_norm",
    "save_steps": "grpo.save_steps", "save_strategy": "grpo.save_steps",
    "gradient_checkpointing": "grpo.gradient_checkpointing",
    "activation_checkpointing": "grpo.gradient_checkpointing",
    "bf16": "policy.dtype", "fp16": "policy.dtype", "use_cpu": "cluster.gpus",
    "seed": "seed", "data_seed": "seed", "ddp_timeout": "limits.ddp",
    "model_init_kwargs": "policy", "use_vllm": "policy.sampler", "vllm_mode": "policy.weights",
    "vllm_importance_sampling_mode": "grpo.correction",
    "vllm_importance_sampling_correction": "grpo.correction",
    "vllm_server_base_url": "policy.servers", "vllm_server_host": "policy.servers",
    "vllm_server_port": "policy.servers", "vllm_tensor_parallel_size": "cluster.tensor_parallel",
    "fsdp": "cluster.strategy", "fsdp_config": "cluster.strategy",
    "deepspeed": "cluster.strategy", "parallelism_config": "cluster.strategy",
}  # fmt: skip
"""What the library sets, and the key of a recipe that says it."""

_UNUSED: Final = frozenset({
    "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "chat_template_kwargs",
    "cache_implementation", "vllm_structured_outputs_regex", "vllm_enable_sleep_mode",
    "vllm_gpu_memory_utilization", "vllm_max_model_length", "vllm_model_impl",
    "max_tool_calling_iterations", "use_transformers_paged", "local_rank", "report_to",
    "use_transformers_continuous_batching", "transformers_continuous_batching_config",
    "ds3_gather_for_generation", "disable_tqdm", "log_completions", "logging_steps",
    "logging_strategy", "logging_first_step", "save_total_limit", "save_on_each_node",
    "resume_from_checkpoint", "do_train", "do_eval", "do_predict", "do_test", "eval_strategy",
    "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size",
    "num_generations_eval", "load_best_model_at_end", "push_to_hub", "hub_token", "hub_model_id",
    "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision",
    "log_completions_hub_repo", "remove_unused_columns", "dataloader_pin_memory", "save_only_model",
    "shuffle_dataset", "num_completions_to_print", "log_unique_prompts", "trust_remote_code",
    "reward_weights",
})  # fmt: skip
"""What means nothing to a run whose episodes, checkpoints, log and evaluation are our own."""

_SOURCES: Final = (
    ("trl", ("trainer/grpo_config.py", "trainer/base_config.py")),
    ("transformers", ("training_args.py",)),
)
_CHOSEN: Final = (
    "loss_type", "importance_sampling_level", "scale_rewards", "multi_objective_aggregation",
)  # fmt: skip
"""Texts that the trainer compares with those that it knows, at its first step and no sooner."""
OF_THE_MACHINE: Final = ("tf32",)
"""Fields that are refused for the GPU that is not there, wherever they are asked about."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "bool": (bool,), "int": (int,), "float": (int, float), "str": (str,), "list": (list,),
    "dict": (dict,), "None": (type(None),),
}  # fmt: skip


def check_trl(said: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a field that `GRPOConfig` has not, that is ours, or of another type.

    Without TRL there is nothing to check by, and nothing to run either: names of ours are refused.
    """
    for name in said:
        if name in _OURS:
            raise UsageError(f"grpo.trl.{name}: expected it as {_OURS[name]}")
        if name in _UNUSED:
            raise UsageError(
                f"grpo.trl.{name}: the run has its own sampling, reward, evaluation, log and"
                " checkpoints; it would do nothing"
            )
    if not said or not (fields := config_fields()):
        return
    for name, value in said.items():
        if name not in fields:
            hint = did_you_mean(name, sorted(fields.keys() - _UNUSED))
            raise UsageError(f"grpo.trl.{brief(name)[1:-1]}: GRPOConfig has no such field{hint}")
        expected = fields[name]
        if expected and not _fits(value, expected):
            raise UsageError(
                f"grpo.trl.{name}: {brief(value)}; expected {' or '.join(sorted(expected))}"
            )
        _check_value(name, value)


def needs_trl(said: Mapping[str, Any]) -> bool:
    """Whether a field was said that `GRPOConfig` itself looks at as it is made, and may refuse."""
    looked_at = _looked_at() - {*_CHOSEN, *OF_THE_MACHINE}
    return bool(said.keys() & looked_at) and bool(config_fields())


def _check_value(name: str, value: Any) -> None:
    """Raise `UsageError` for a value that would stop the trainer at its first step."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"grpo.trl.{name}: {brief(value)}; expected a finite number")
    if name in ("epsilon", "epsilon_high", "delta") and value is not None and value < 0:
        raise UsageError(f"grpo.trl.{name}: {brief(value)}; expected 0 or more")
    if name == "num_iterations" and value < 1:
        raise UsageError(f"grpo.trl.{name}: {brief(value)}; expected 1 or more")
    if name == "top_entropy_quantile" and not 0 <= value <= 1:
        raise UsageError(f"grpo.trl.{name}: {brief(value)}; expected a number from 0 to 1")
    known = trainer_choices().get(name, frozenset())
    if isinstance(value, str) and known and value not in known:
        raise UsageError(
            f"grpo.trl.{name}: {brief(value)}{did_you_mean(value, sorted(known))}; expected one of"
            f" {', '.join(sorted(known))}"
        )


@functools.cache
def config_fields() -> dict[str, frozenset[str]]:
    """Return the fields of the installed `GRPOConfig` and the plain types that each takes.

    A field of another type has none, and is not checked by type. Empty without TRL.
    """
    fields: dict[str, frozenset[str]] = {}
    for package, files in _SOURCES:
        if importlib.util.find_spec(package) is None:
            return {}
        for file in files:
            if (tree := _parsed(package, file)) is not None:
                fields = _class_fields(tree) | fields
    return fields


@functools.cache
def trainer_choices() -> dict[str, frozenset[str]]:
    """Return the texts that the installed `GRPOTrainer` knows of the fields that it compares with
    some and refuses otherwise; a field that is not found has none."""
    tree = _parsed("trl", "trainer/grpo_trainer.py")
    found: dict[str, frozenset[str]] = {}
    for node in () if tree is None else ast.walk(tree):
        if isinstance(node, ast.If) and (chain := list(_branches(node))):
            names = {name for name, _ in chain} & set(_CHOSEN)
            for name in names:
                known = frozenset().union(*(texts for each, texts in chain if each == name))
                found[name] = max(found.get(name, frozenset()), known, key=len)
    return found


def _branches(node: ast.If) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what `if self.x == "a": ... elif self.x in ("b", "c"): ... else: raise ...` compares,
    nothing for a chain that ends otherwise."""
    tests, last = [node.test], node.orelse
    while len(last) == 1 and isinstance(last[0], ast.If):
        tests.append(last[0].test)
        last = last[0].orelse
    if not (last and isinstance(last[0], ast.Raise)):
        return
    for test in tests:
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Attribute):
            texts = [each.value for each in ast.walk(test.comparators[0])
                     if isinstance(each, ast.Constant) and isinstance(each.value, str)]  # fmt: skip
            yield test.left.attr, frozenset(texts)


@functools.cache
def _looked_at() -> frozenset[str]:
    """Return the fields that are named in what `GRPOConfig` does as it is made."""
    trees = [_parsed(package, file) for package, files in _SOURCES for file in files]
    return frozenset(
        part.attr
        for tree in trees if tree is not None
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "__post_init__"
        for part in ast.walk(function) if isinstance(part, ast.Attribute)
    )  # fmt: skip


def _parsed(package: str, file: str) -> ast.Module | None:
    """Return a file of an installed package, None if it is not there."""
    spec = importlib.util.find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / file
    return ast.parse(path.read_text(encoding="utf-8")) if path and path.exists() else None


def _class_fields(tree: ast.Module) -> dict[str, frozenset[str]]:
    return {
        line.target.id: _plain_types(line.annotation)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if not line.target.id.startswith("_")
    }


def _plain_types(annotation: ast.expr) -> frozenset[str]:
    """Return the names of `a | b | None` if all are plain; nothing if one is not."""
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    names = [part.strip().partition("[")[0] for part in str(text).split("|")]
    return frozenset(names) if all(name in _TYPES for name in names) else frozenset()


def _fits(value: Any, expected: frozenset[str]) -> bool:
    kinds = tuple(kind for name in expected for kind in _TYPES[name])
    # True is an int to Python, and no number to a reader.
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
