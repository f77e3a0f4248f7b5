"""`qwq train RECIPE`: run a recipe from cold start to report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

from qwq_env.cli.arguments import add_recipe
from qwq_env.errors import InfrastructureError, ServersGone
from qwq_env.files.jsonl import read_objects
from qwq_env.imports import heavy_imports, missing_extra
from qwq_env.rollout.checkpoint_folder import check_checkpoint


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq train`."""
    parser = subparsers.add_parser("train", help="train a policy in an environment")
    add_recipe(parser)
    parser.add_argument("--tasks", help="a JSONL file or dataset id in place of the recipe's tasks")
    parser.add_argument("--seed", type=int, help="in place of the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--stage", help="only this one of the recipe's stages")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie (runs/)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns 0, 130 if it was interrupted, and 1 if our machinery failed."""
    _quiet()
    try:
        from qwq_env.training.plan import check_fit  # noqa: PLC0415 - needs the train extra
        from qwq_env.training.recipe import load_recipe  # noqa: PLC0415 - likewise
        from qwq_env.training.run_folder import RunFolder  # noqa: PLC0415 - likewise
        from qwq_env.training.stages.stage import (  # noqa: PLC0415 - likewise
            check_sources,
            check_together,
            stages_of,
        )
        from qwq_env.versions import check_versions  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise missing_extra(error, "train") from None
    overrides = list(arguments.overrides)
    if arguments.tasks is not None:
        # As JSON, which YAML reads as the text that it is, whatever that looks like.
        overrides.append(f"environment.tasks={json.dumps(arguments.tasks, ensure_ascii=False)}")
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    check_versions()  # before the imports that fail under a version that is too old
    recipe = load_recipe(arguments.recipe, overrides)
    stages = stages_of(recipe, arguments.runs, arguments.stage)
    for stage in stages:
        check_fit(stage.recipe)
        _look_for_files(stage.recipe.environment.tasks, stage.recipe.environment.heldout_tasks)
        if stage.recipe.policy.checkpoint != "tiny" and stage.checked is None:
            check_checkpoint(stage.recipe.policy.checkpoint)
    check_sources(stages, read=False)  # what is in them is read by `train`
    check_together([stage for stage in stages if not stage.sealed])
    RunFolder(arguments.runs / recipe.name).check(recipe, resume=arguments.resume)
    try:
        # Last, for torch and trl take seconds: a mistake in the recipe is told before.
        with heavy_imports():
            from qwq_env.training.run import train  # noqa: PLC0415
            from qwq_env.training.stages.gates import GateClosed  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra(error, "train") from None
    try:
        train(recipe, arguments.runs, resume=arguments.resume, only=arguments.stage)
    except KeyboardInterrupt:
        print("qwq: interrupted; the same command with --resume goes on", file=sys.stderr)
        return 130
    except GateClosed as error:
        print(f"qwq: stopped: {error}", file=sys.stderr)
        return 1
    except (ServersGone, InfrastructureError, OSError) as error:
        print(f"qwq: failed: {error}; the same command with --resume goes on", file=sys.stderr)
        return 1
    return 0


def _look_for_files(*tasks: str | None) -> None:
    """Raise `UsageError` for a file of tasks that cannot be read."""
    for name in tasks:
        if name is not None and Path(name).suffix.lower() == ".jsonl":
            next(read_objects(Path(name), field="tasks"), None)


def _quiet() -> None:
    """Keep notices of libraries, which no user of this command can act on, out of its output."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
