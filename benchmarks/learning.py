"""The main job under three seeds, and its control: the same with rewards drawn by lot.

    qwq bench learning [key=value ...] [--seeds 0 1 2] [--no-control] [--runs DIR] [--json]
                       [--out FILE]

Each is `qwq train recipes/tiny.yaml` in a process of its own, one after the other, so that the
minutes are those of a machine that does nothing else. What rises under random rewards was not
learned from outcomes; `accuracy_trained` of the control must not be above its `accuracy_cold`.
`paid_by_tool` is the share of the episodes paid for in which a tool was called: the rest was luck.
The result is written after each run: what ended stays if the next is interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write

from qwq_env.rollout.store import read_episodes

ROOT = Path(__file__).resolve().parents[1]
KEYS = (
    "accuracy_cold", "accuracy_trained", "accuracy_trained_greedy", "tool_call_rate_cold",
    "tool_call_rate_trained", "steps", "seconds", "episodes_lost", "paid_by_tool",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Run all of them, one after the other; exit code 1 if one falls short of the goal."""
    parser = argparse.ArgumentParser(prog="qwq bench learning", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-control", action="store_true")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    return 0 if all(holds(name, found) for name, found in result["runs"].items()) else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each seed, and the first once more as control."""
    result: dict[str, Any] = {"runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, (seed, *overrides) in asked(arguments).items():
            summary, seconds = train(arguments.runs or Path(folder), name, seed, overrides)
            figures = {key: summary[key] for key in KEYS}
            result["versions"] = summary["versions"]
            result["runs"][name] = {**figures, "minutes": round(seconds / 60, 2)}
            write(result, arguments)
    return result


def asked(arguments: argparse.Namespace) -> dict[str, tuple[Any, ...]]:
    """Return the seed and the overrides of each run by its name."""
    runs = {f"seed {seed}": (seed, *arguments.overrides) for seed in arguments.seeds}
    first = arguments.seeds[0]
    control = {f"control, seed {first}": (first, "grpo.reward=random", *arguments.overrides)}
    return runs | ({} if arguments.no_control else control)


def table(result: Mapping[str, Any]) -> str:
    """Return a line a run."""
    return "\n".join(
        f"{name:<16} {'  '.join(f'{key} {found[key]:.3f}' for key in KEYS[:5])}"
        f"  {found['minutes']:.1f} min"
        for name, found in result["runs"].items()
    )


def train(
    runs: Path, name: str, seed: int, overrides: list[str], recipe: str = "tiny"
) -> tuple[dict[str, Any], float]:
    """Run the recipe; return its summary and the wall seconds of the process."""
    folder = folder_of(name)
    command = [
        sys.executable, "-m", "qwq_env.training", f"recipes/{recipe}.yaml", f"name={folder}",
        *overrides, "--seed", str(seed), "--runs", str(runs),
    ]  # fmt: skip
    examples = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "examples")))}
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=examples)
    seconds = time.perf_counter() - start
    summary = json.loads((runs / folder / "summary.json").read_text(encoding="utf-8"))
    played = read_episodes(runs / folder / "episodes.jsonl")
    paid = [episode.counts.get("ok", 0) > 0 for episode in played if episode.reward]
    return {**summary, "paid_by_tool": sum(paid) / max(1, len(paid))}, seconds


def folder_of(name: str) -> str:
    """Return the name of the folder of a run that a table calls `name`."""
    return name.replace(", ", "-").replace(" ", "")


def holds(name: str, run: dict[str, Any]) -> bool:
    """Say whether a run does what the README says of it."""
    if name.startswith("control"):
        return bool(run["accuracy_trained"] <= run["accuracy_cold"] + 0.05)
    learned = run["accuracy_cold"] <= 0.35 and run["accuracy_trained"] >= 0.95
    return bool(learned and run["paid_by_tool"] >= 0.95)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
