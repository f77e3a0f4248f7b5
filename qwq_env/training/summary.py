"""The summary of a run: what each of its stages came to, in one JSON object."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.evaluation.heldout import Result
from qwq_env.files.json_file import read_json_file
from qwq_env.training.recipe import Recipe
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.stages.stage import Stage

_PACKAGES: Final = (
    "qwq-env", "torch", "transformers", "trl", "accelerate", "gymnasium", "math-verify",
)  # fmt: skip


class Results(NamedTuple):
    """The evaluations of a stage: before GRPO, after it, and after it without chance."""

    cold: Result
    trained: Result
    greedy: Result


def summary_of(recipe: Recipe, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return the summary of a run: that of its one stage, or of each that has ended."""
    found: dict[str, dict[str, Any]] = {
        stage.name: _read(stage.folder / "summary.json") for stage in stages if stage.sealed
    }
    if not recipe.stages:
        return found[recipe.name]
    return {"name": recipe.name, "seed": recipe.seed, "stages": found}


def _read(path: Path) -> dict[str, Any]:
    found = read_json_file(path)
    if found is None:
        raise UsageError(f"run: {path} is damaged; expected the summary of a stage")
    return found


def summary_of_stage(
    recipe: Recipe,
    folder: RunFolder,
    results: Results,
    seconds: Mapping[str, float],
    processes: int,
) -> dict[str, Any]:
    """Return the summary of a stage whose phases have all ended."""
    cold, trained, greedy = results
    members = {
        name: {
            "cold": cold.members.get(name),
            "trained": trained.members.get(name),
            "greedy": greedy.members.get(name),
        }
        for name in dict.fromkeys([*cold.members, *trained.members, *greedy.members])
    }
    return {
        "name": recipe.name,
        "seed": recipe.seed,
        "accuracy_cold": cold.accuracy,
        "accuracy_trained": trained.accuracy,
        "accuracy_trained_greedy": greedy.accuracy,
        **_while_it_trained(recipe, folder),
        **({"reward_model": told} if (told := folder.done("reward_model")) else {}),
        **({"accuracy_by_member": members} if members else {}),
        "tool_call_rate_cold": cold.tool_call_rate,
        "tool_call_rate_trained": trained.tool_call_rate,
        "steps": recipe.grpo.steps,
        "seconds": seconds,
        "episodes_lost": sum(result.lost for result in results),
        "processes": processes,
        "versions": versions(),
    }


def step_name(step: int) -> str:
    """Return what the evaluation after a step is called in the run's folder."""
    return f"step {step}"


def _while_it_trained(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    every, steps = recipe.evaluation.every, recipe.grpo.steps
    done = {step: folder.done(step_name(step)) for step in range(every or steps, steps, every or 1)}
    found = {
        str(step): {"accuracy": each["accuracy"], **each["members"]}
        for step, each in done.items()
        if each is not None
    }
    return {"accuracy_by_step": found} if found else {}


def versions() -> dict[str, str]:
    """Return the versions of what a run stands on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
