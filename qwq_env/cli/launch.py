"""`qwq launch RECIPE`: start the servers and trainers of a recipe, or print every command."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwq_env.cli.arguments import add_recipe, warn
from qwq_env.errors import UsageError
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.training.launch import Job, Process
    from qwq_env.training.recipe import Recipe


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq launch`."""
    parser = subparsers.add_parser(
        "launch",
        help="start a recipe's servers and trainers",
        description="Starts what belongs to this machine: servers, then trainers once all servers"
        " answer. When one process ends, all end.",
    )
    add_recipe(parser)
    parser.add_argument("--nodes", type=int, help="machines, in place of cluster.nodes")
    parser.add_argument("--node", type=int, default=0, help="which of them this is (0)")
    parser.add_argument("--hosts", help="their names, with commas; needed for several")
    parser.add_argument("--slurm", action="store_true", help="print a script for sbatch")
    parser.add_argument("--dry-run", action="store_true", help="check, and print every command")
    parser.add_argument("--wait", type=float, default=1800.0, help="seconds for servers to begin")
    parser.add_argument("--vllm-python", default=sys.executable, help="an interpreter with vLLM")
    parser.add_argument("--stage", help="only this one of the recipe's stages")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--runs", type=Path, help="where runs lie (runs/)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start, or print. Returns the trainers' exit code."""
    from qwq_env.training.launch import (  # noqa: PLC0415 - train extra
        check_job,
        processes_of,
        slurm_script,
    )
    from qwq_env.training.launch_run import run_processes  # noqa: PLC0415 - likewise
    from qwq_env.training.recipe import load_recipe  # noqa: PLC0415 - likewise
    from qwq_env.training.recipe.check import check_recipe  # noqa: PLC0415 - likewise

    overrides = list(arguments.overrides)
    if arguments.nodes is not None:
        overrides.append(f"cluster.nodes={arguments.nodes}")
    recipe = load_recipe(arguments.recipe, overrides)
    warn(check_recipe(recipe))
    nodes = recipe.cluster.nodes
    for name, value in (("node", arguments.node), ("wait", arguments.wait)):
        if not 0 <= value < (nodes if name == "node" else math.inf):
            raise UsageError(f"{name}: {value:g}; expected 0 or more, and a node below {nodes}")
    dry = arguments.dry_run or arguments.slurm
    hosts = _hosts(arguments.hosts, nodes, dry=dry)
    jobs = _jobs(arguments, recipe, tuple(overrides), hosts)
    if nodes > 1 and len(jobs) > 1 and not dry:
        raise UsageError(
            f"stages: {len(jobs)} are left on {nodes} machines; expected --stage"
            f" {jobs[0].stage}, or the script of --slurm"
        )
    begun = [(job, processes_of(job)) for job in jobs]
    checked = [check_job(found, job.recipe, ports=nodes == 1) for job, found in begun]
    if arguments.slurm:
        print(slurm_script(jobs), end="")
        return 0
    for (job, processes), lines in zip(begun, checked, strict=True):
        if dry:
            _print(job.stage, processes, lines)
            continue
        if job.stage:
            _say(f"stage {job.stage}")
        wait = arguments.wait
        if code := run_processes(processes, arguments.node, wait_seconds=wait, say=_say):
            return code
    return 0


def _jobs(
    arguments: argparse.Namespace,
    recipe: Recipe,
    overrides: tuple[str, ...],
    hosts: tuple[str, ...],
) -> list[Job]:
    """Return what is to be launched, a job for each stage that is not sealed."""
    from qwq_env.training.launch import Job  # noqa: PLC0415 - train extra
    from qwq_env.training.stages.stage import check_sources, stages_of  # noqa: PLC0415 - likewise

    runs = Path("runs") if arguments.runs is None else arguments.runs
    stages = stages_of(recipe, runs, arguments.stage)
    check_sources(stages)
    waiting = [stage for stage in stages if not stage.sealed] or stages[-1:]
    options = [] if arguments.runs is None else ["--runs", str(arguments.runs)]
    jobs = []
    for place, stage in enumerate(waiting):
        resumes = arguments.resume or place > 0
        own = ["--stage", stage.part.name] if stage.part.name else []
        given = (*["--resume"] * resumes, *own, *options)
        jobs.append(
            Job(arguments.recipe, stage.recipe, overrides, hosts, given, arguments.vllm_python,
                stage.part.name)
        )  # fmt: skip
    return jobs


def _hosts(said: str | None, nodes: int, *, dry: bool) -> tuple[str, ...]:
    if said is not None:
        return tuple(said.split(","))
    if nodes == 1:
        return ("127.0.0.1",)
    if not dry:
        raise UsageError(f"hosts: none; expected --hosts with {nodes} names, for several machines")
    return tuple(f"node{number}" for number in range(nodes))


def _print(stage: str, processes: list[Process], checked: list[str]) -> None:
    if stage:
        print(printable(f"stage {stage}", lines=False))
    for node in sorted({process.node for process in processes}):
        print(f"node {node}")
        for process in processes:
            if process.node == node:
                health = "" if process.url is None else f"   # serves once {process.url}/health"
                print(printable(f"  {process.name}: {process.shell()}{health}", lines=False))
    print("checked")
    for line in checked:
        print(printable(f"  {line}", lines=False))


def _say(line: str) -> None:
    print(printable(f"launch: {line}", lines=False), file=sys.stderr, flush=True)
