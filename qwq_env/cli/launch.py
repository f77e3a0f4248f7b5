"""`qwq launch RECIPE`: start the servers and trainers of a recipe, or print every command."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwq_env.cli.arguments import add_recipe
from qwq_env.errors import UsageError
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.training.launch import Process


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
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--runs", type=Path, help="where runs lie (runs/)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start, or print. Returns the trainers' exit code."""
    from qwq_env.training.launch import (  # noqa: PLC0415 - train extra
        Job,
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
    check_recipe(recipe)
    nodes = recipe.cluster.nodes
    for name, value in (("node", arguments.node), ("wait", arguments.wait)):
        if not 0 <= value < (nodes if name == "node" else math.inf):
            raise UsageError(f"{name}: {value:g}; expected 0 or more, and a node below {nodes}")
    options = ["--resume"] * arguments.resume
    options += [] if arguments.runs is None else ["--runs", str(arguments.runs)]
    dry = arguments.dry_run or arguments.slurm
    hosts = _hosts(arguments.hosts, nodes, dry=dry)
    job = Job(
        arguments.recipe, recipe, tuple(overrides), hosts, tuple(options), arguments.vllm_python
    )
    processes = processes_of(job)
    checked = check_job(processes, recipe, ports=nodes == 1)
    if arguments.slurm:
        print(slurm_script(job), end="")
        return 0
    if dry:
        _print(processes, checked)
        return 0
    return run_processes(processes, arguments.node, wait_seconds=arguments.wait, say=_say)


def _hosts(said: str | None, nodes: int, *, dry: bool) -> tuple[str, ...]:
    if said is not None:
        return tuple(said.split(","))
    if nodes == 1:
        return ("127.0.0.1",)
    if not dry:
        raise UsageError(f"hosts: none; expected --hosts with {nodes} names, for several machines")
    return tuple(f"node{number}" for number in range(nodes))


def _print(processes: list[Process], checked: list[str]) -> None:
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
