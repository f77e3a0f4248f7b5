"""The environments of a run: what its recipe names, made to train in and to evaluate in.

An environment is any Gymnasium id behind which a `ToolEnv` stands; the library knows nothing of
its class but its signature. What the recipe leaves unsaid is left to the environment's own
defaults, and what the recipe says must be something that its class takes.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.registry import creator_of, make_environment
from qwq_env.task import Later, ListTaskSet, Task
from qwq_env.training.recipe import EnvironmentRecipe, Recipe
from qwq_env.training.recipe.parts import Part

_log = logging.getLogger(__name__)


def environments_of(part: Part) -> tuple[ToolEnv, ToolEnv]:
    """Return the environments of a part of a run; see `environments`.

    Raises `UsageError` for a reward model that a member has no place for.
    """
    if part.reward_model is not None:
        member = part.reward_model.member
        given = part.trained.arguments["members"][member]
        name = given if isinstance(given, str) else given["id"]
        creator = creator_of(name)
        if creator is not None and "reward_model" not in inspect.signature(creator).parameters:
            raise UsageError(
                f"stages.{part.name}.reward_model: {name} takes no argument 'reward_model'"
            )
    return environments(part.recipe, part.trained)


def environments(
    recipe: Recipe, trained: EnvironmentRecipe | None = None
) -> tuple[ToolEnv, ToolEnv]:
    """Return the environment to train in and the one to evaluate in; they share no task.

    `trained` is what a stage trains in, where that is a part of the recipe's environment.

    Endless task sets may have splits of their own; of a finite one the last tasks are held out,
    and of an endless one without splits the first.

    Raises `UsageError` for what the recipe says wrongly, and for fewer tasks than a training step
    asks: the trainer would do no step at all, without a word.
    """
    train, heldout = _split(recipe)
    if trained is not None and trained != recipe.environment:
        train = _apart(make_split(trained, trained.tasks, "train"), heldout)
    for env in (train, heldout):
        limits = replace(env.settings.limits, seconds=recipe.limits.episode)
        env.settings = replace(env.settings, limits=limits)
    asked = recipe.grpo.episodes // recipe.grpo.group
    if train.tasks.size is not None and train.tasks.size < asked:
        kept = "" if recipe.environment.heldout_tasks is not None else (
            f", for the last {heldout.tasks.size} are held out for evaluation"
            " (evaluation.tasks, at most half)"
        )  # fmt: skip
        raise UsageError(
            f"environment.tasks: {train.tasks.size} to train on{kept}; expected {asked} or more,"
            " as many as a step asks (grpo.episodes / grpo.group)"
        )
    return train, heldout


def _split(recipe: Recipe) -> tuple[ToolEnv, ToolEnv]:
    wanted = recipe.environment
    train = make_split(wanted, wanted.tasks, "train")
    if wanted.heldout_tasks is not None:
        return train, make_split(wanted, wanted.heldout_tasks, "test")
    count = recipe.evaluation.tasks
    if train.tasks.size is None:
        heldout = make_split(wanted, wanted.tasks, "heldout")
        # Whoever does not know splits gives the same tasks again.
        if heldout.tasks.task(0) == train.tasks.task(0):
            heldout.tasks = ListTaskSet(list(islice(heldout.tasks, count)))
            train.tasks = Later(train.tasks, count)
        return train, heldout
    tasks = list(train.tasks)
    count = min(count, len(tasks) // 2)
    if count == 0:
        named = wanted.tasks or wanted.id
        raise UsageError(f"environment.tasks: {named} has {len(tasks)}; expected 2 or more")
    heldout = copy.copy(train)
    held, rest = tasks[len(tasks) - count :], tasks[: len(tasks) - count]
    heldout.tasks = ListTaskSet(held)
    train.tasks = ListTaskSet(_others(rest, held))
    return train, heldout


def _others(tasks: Sequence[Task], held: Sequence[Task]) -> list[Task]:
    """Return the tasks without those that are held out under another id: a file's repeated rows.

    Raises `UsageError` if none is left.
    """
    contents = {repr(replace(task, id="")) for task in held}
    others = [task for task in tasks if repr(replace(task, id="")) not in contents]
    if not others:
        raise UsageError(
            f"environment.tasks: all {len(tasks)} to train on are among the {len(held)} that are"
            " held out; expected others"
        )
    if left := len(tasks) - len(others):
        _log.warning("%d rows say again what is held out for evaluation: not trained on", left)
    return others


def _apart(train: ToolEnv, heldout: ToolEnv) -> ToolEnv:
    """Return a training environment without the held-out tasks; sets without end know splits."""
    if train.tasks.size is not None and heldout.tasks.size is not None:
        held = {task.id for task in heldout.tasks}
        train.tasks = ListTaskSet([task for task in train.tasks if task.id not in held])
    return train


def make_split(wanted: EnvironmentRecipe, tasks: str | None, split: str) -> ToolEnv:
    """Make the environment on `tasks` and, if its class knows splits, on that one.

    Raises `UsageError` for an id that is none, and for an argument that its class does not take.
    """
    said: Mapping[str, Any] = {
        "tasks": tasks,
        "tools": wanted.tools,
        "dialect": wanted.dialect,
        "difficulty": wanted.difficulty,
    }
    arguments = {name: value for name, value in said.items() if value is not None}
    for name in wanted.arguments:
        if name in said:
            raise UsageError(f"environment.arguments.{name}: expected it as environment.{name}")
    env = make_environment(wanted.id, {**arguments, **wanted.arguments}, split=split)
    limits = replace(env.settings.limits, turns=wanted.turns, tool_calls=wanted.tool_calls)
    env.settings = replace(env.settings, limits=limits)
    return env
