"""A tiny policy learns where there is state, where a user answers, and in three places at once.

    qwq bench environments [key=value ...] [--seed 0] [--only RECIPE ...] [--json] [--out FILE]

Runs recipes/tiny-bank.yaml (accounts that must end right), tiny-desk.yaml (a customer who asks
twice) and tiny-mixture.yaml (arithmetic, bank and desk), one after the other, and draws the curves
into results/environments.png. Exit code 1 unless the held-out score of each, and of each member of
the mixture, has risen by 0.15.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write
from learning import KEYS, train

from qwq_env.training.report import played_rows, read_metrics

RECIPES = ("tiny-bank", "tiny-desk", "tiny-mixture")
RISE = 0.15


def main(argv: list[str]) -> int:
    """Run all three; exit code 1 if a score has not risen."""
    parser = argparse.ArgumentParser(prog="qwq bench environments", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of every recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    result = run(parser, argv, measure, table)
    if result["runs"].keys() == set(RECIPES) and not result["overrides"]:
        draw(result, Path(__file__).parent / "results" / "environments.png")
    return 0 if all(after >= before + RISE for _, before, after in scores(result)) else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each recipe; the result is written after each."""
    result: dict[str, Any] = {"overrides": arguments.overrides, "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            given = arguments.overrides
            summary, seconds = train(Path(folder), name, arguments.seed, given, recipe=name)
            figures = {key: summary[key] for key in (*KEYS, "accuracy_by_member") if key in summary}
            rows = played_rows(read_metrics(Path(folder) / name / "metrics.jsonl"))
            rewards = [row["reward"] for row in rows]
            minutes = round(seconds / 60, 2)
            result["runs"][name] = {**figures, "minutes": minutes, "reward_by_step": rewards}
            result["versions"] = summary["versions"]
            write(result, arguments)
    return result


def scores(result: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return each held-out score: whose it is, before GRPO and after it."""
    found = []
    for name, figures in result["runs"].items():
        found.append((name, figures["accuracy_cold"], figures["accuracy_trained"]))
        found += [
            (f"{name}: {member}", each["cold"], each["trained"])
            for member, each in figures.get("accuracy_by_member", {}).items()
        ]
    return found


def table(result: Mapping[str, Any]) -> str:
    """Return a line a score."""
    return "\n".join(
        f"{name:<20} {before:.3f} -> {after:.3f}" for name, before, after in scores(result)
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the mean reward of each step, over the held-out scores before and after."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(result["runs"]), figsize=(12, 3.6), sharey=True)
    for place, (name, figures) in zip(axes, result["runs"].items(), strict=True):
        rewards = figures["reward_by_step"]
        steps = range(1, len(rewards) + 1)
        near = [rewards[max(0, step - 5) : step] for step in steps]
        place.plot(steps, rewards, color="tab:blue", alpha=0.25, linewidth=0.8)
        place.plot(steps, [sum(few) / len(few) for few in near], color="tab:blue", label="reward")
        members = figures.get("accuracy_by_member") or {
            "held out": {"cold": figures["accuracy_cold"], "trained": figures["accuracy_trained"]}
        }
        for member, color in zip(members, ("tab:orange", "tab:green", "tab:red"), strict=False):
            ends = [members[member]["cold"], members[member]["trained"]]
            place.plot([0, len(rewards)], ends, "o--", color=color, label=f"held out: {member}"
                       if len(members) > 1 else member)  # fmt: skip
        place.set(title=name, xlabel="step of GRPO", ylim=(-0.02, 1.02))
        place.legend(loc="upper left", fontsize=8)
    axes[0].set_ylabel("share paid")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
