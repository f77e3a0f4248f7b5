"""What differs between versions of the libraries that the training stands on: TRL, Transformers.

What is there is found by looking at it (what a function takes), not by its number: a model with
code of its own may speak an older dialect than the library around it. Numbers only tell what this
package was run with, by the ranges that it declares in its metadata (`pyproject.toml`).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any

from packaging.requirements import Requirement

from qwq_env.errors import UsageError

_DISTRIBUTION = "qwq-env"
_EXTRA = "train"
_ASYNC_GRPO = "trl.experimental.async_grpo"


def cache_argument(forward: Callable[..., Any]) -> str:
    """Return the name by which a model's `forward` takes keys and values.

    Transformers says `cache` from 5.24 on, `past_key_values` before. A wrapper that passes on
    whatever it gets (PEFT's) names neither; then it is the name that the library itself uses.
    """
    taken = _takes(forward)
    if "cache" in taken or "past_key_values" in taken:
        return "cache" if "cache" in taken else "past_key_values"
    generation: Any = importlib.import_module("transformers.generation")
    own = _takes(generation.GenerationMixin.prepare_inputs_for_generation)
    return "cache" if "cache" in own else "past_key_values"


def checkpointing_argument(config: type) -> str:
    """Return the name of the setting that recomputes activations, on by default in TRL.

    Transformers says `activation_checkpointing` from 5.24 on, `gradient_checkpointing` before.
    """
    new = "activation_checkpointing"
    return new if new in _takes(config) else "gradient_checkpointing"


def check_trainer(trainer: type) -> None:
    """Raise `UsageError` unless this `GRPOTrainer` takes its episodes from a `rollout_func`."""
    if "rollout_func" not in _takes(trainer):
        raise UsageError(f"{_found('trl')}: its GRPOTrainer takes no rollout_func; {_mend('trl')}")


def rollout_sample() -> Any:
    """Return the class of the rows that TRL's `AsyncGRPOTrainer` takes from a rollout worker.

    Raises `UsageError` where there is no such trainer or it takes no worker, as from TRL 1.18 on.
    """
    try:
        rows = importlib.import_module(f"{_ASYNC_GRPO}.async_rollout_worker")
        trainer = importlib.import_module(f"{_ASYNC_GRPO}.async_grpo_trainer")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("trl."):
            raise  # TRL itself is missing, or what it needs
    else:
        found = getattr(trainer, "AsyncGRPOTrainer", None)
        if found is not None and "rollout_worker" in _takes(found):
            return rows.RolloutSample
    raise UsageError(
        f"{_found('trl')}: its AsyncGRPOTrainer takes no rollout_worker, which AsyncRollouts is;"
        f" {_mend('trl')}, or train with Rollouts and GRPOTrainer"
    )


def check_versions() -> list[str]:
    """Compare what is installed with the ranges that this package declares.

    Raises `UsageError` for a library that is too old. Returns a line for each that is newer than
    what this package was run with: it may well do.
    """
    newer = []
    for requirement in _declared():
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # its extra was not asked for; where it is needed, its import says so
        broken = [part for part in requirement.specifier
                  if not part.contains(installed, prereleases=True)]  # fmt: skip
        if any(not part.operator.startswith("<") for part in broken):
            raise UsageError(f"{requirement.name}: {installed}; {_mend(requirement.name)}")
        if broken:
            newer.append(
                f"{requirement.name} {installed} is newer than what this was tested with"
                f" ({requirement.specifier})"
            )
    return newer


def _takes(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def _found(name: str) -> str:
    return f"{name} {importlib.metadata.version(name)}"


def _mend(name: str) -> str:
    """Say which versions to install, as far as this package's metadata are there to tell."""
    ranges = [str(each.specifier) for each in _declared() if each.name == name]
    return f"expected {name}{ranges[0]}: pip install '{name}{ranges[0]}'" if ranges else "update it"


def _declared() -> list[Requirement]:
    """Return what training needs; nothing where this package is run without being installed."""
    try:
        lines = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    needed = [Requirement(line) for line in lines]
    return [each for each in needed if not each.marker or each.marker.evaluate({"extra": _EXTRA})]
