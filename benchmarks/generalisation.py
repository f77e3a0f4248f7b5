"""How far tiny policies carry what they learned: stories and difficulties that they never saw.

    qwq bench generalisation [--recipes tiny tiny-stories] [--seeds 0] [--tasks 256]
                             [--runs DIR] [--json] [--out FILE]

Trains each recipe under each seed, then plays held-out tasks at the temperature of training. Their
names and numbers are those of no task of training. "told" are the wordings of the set's training
split, which a recipe saw if it is trained on that set; "own" are those that no training tells. The
arithmetic sets of two to five are difficulties that neither recipe is trained on. A run that is
already in `--runs` is measured as it is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write
from learning import ROOT, train
from real_model import play

SETS = {
    f"{family} {difficulty}, {name}": (family, difficulty, wordings)
    for family, difficulties in (("arithmetic", range(1, 6)), ("stories", (1, 2)))
    for difficulty in difficulties
    for name, wordings in (("told", "shared"), ("own", "own"))
}
"""Title: the family of tasks, their difficulty, and whether their stories are their own."""


def main(argv: list[str]) -> int:
    """Train and measure; exit code 1 if what was learned is worth nothing on unseen stories."""
    parser = argparse.ArgumentParser(prog="qwq bench generalisation", description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=["tiny", "tiny-stories"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tasks", type=int, default=256, help="of a set")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    unseen = [found["sets"]["stories 1, own"] for found in result["runs"].values()]
    return 0 if max(unseen) > 0 else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train each recipe under each seed, and play all sets with its policy."""
    result: dict[str, Any] = {"tasks": arguments.tasks, "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or Path(folder)
        for recipe in arguments.recipes:
            for seed in arguments.seeds:
                name = f"{recipe}-seed{seed}"
                if not (runs / name / "summary.json").exists():
                    train(runs, name, seed, [], recipe)
                sets = accuracies(runs / name / "policy", recipe, arguments.tasks)
                result["runs"][name] = {"recipe": recipe, "seed": seed, "sets": sets}
                write(result, arguments)
    return result


def accuracies(policy: Path, name: str, count: int) -> dict[str, float]:
    """Return the share of right answers in the first `count` held-out tasks of each set."""
    from qwq_env.envs.arithmetic import ArithmeticTaskSet, StoryTaskSet
    from qwq_env.task import ListTaskSet
    from qwq_env.training.recipe import load_recipe

    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml")
    found = {}
    for title, (family, difficulty, wordings) in SETS.items():
        kind = StoryTaskSet if family == "stories" else ArithmeticTaskSet
        tasks = kind(difficulty=difficulty, split="heldout", wordings=wordings, seed=1)
        played = play(policy, ListTaskSet(list(islice(tasks, count))), recipe)
        found[title] = statistics.fmean(episode.is_right for episode, _ in played)
    return found


def table(result: Mapping[str, Any]) -> str:
    """Return a line a set: the mean of each recipe's seeds, and their least and greatest."""
    recipes = sorted({found["recipe"] for found in result["runs"].values()})
    lines = [" " * 22 + "".join(f"{recipe:<24}" for recipe in recipes)]
    for title in SETS:
        cells = []
        for recipe in recipes:
            of = [run["sets"][title] for run in result["runs"].values() if run["recipe"] == recipe]
            cells.append(f"{statistics.fmean(of):.3f} ({min(of):.3f} to {max(of):.3f})")
        lines.append(f"{title:<22}" + "".join(f"{cell:<24}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
