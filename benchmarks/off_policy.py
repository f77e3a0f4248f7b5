"""How a policy fares whose samples are of older weights, and what each correction does about it.

    qwq bench off_policy [key=value ...] [--seeds 0 1 2] [--staleness 2 8] [--jobs 2] [--json]
                         [--out FILE]

For each seed one cold start; from it GRPO on policy, and at each staleness without correction, and
with importance taken over a token, over an episode as geometric mean, and as product. What is told
of each run: the mean reward of its last ten steps, the held-out score, the lag, and the effective
share of the samples (Kish). Draws results/off_policy.png, the reward by step. `--jobs` runs are
trained at a time, each on one core. The result is written after each of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _result import run, write
from learning import folder_of, train

from qwq_env.training.report import played_rows, read_metrics

CORRECTIONS = {
    "none": ("grpo.correction=none",),
    "token": ("grpo.correction=token_truncate",),
    "geometric": ("grpo.correction=geometric_truncate",),
    "sequence": ("grpo.correction=sequence_truncate",),
}
ON_POLICY = "on policy"
_LAST = 10


def main(argv: list[str]) -> int:
    """Run the grid."""
    parser = argparse.ArgumentParser(prog="qwq bench off_policy", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--staleness", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--only", nargs="+", choices=CORRECTIONS, default=list(CORRECTIONS))
    result = run(parser, argv, measure, table)
    if not result["overrides"] and len(result["seeds"]) > 1:
        draw(result, Path(__file__).parent / "results" / "off_policy.png")
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each corner of the grid under each seed, on the seed's own cold start."""
    # Tiny matrices gain nothing by a second thread; a second run does.
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    corners = grid(arguments.staleness, arguments.only)
    result: dict[str, Any] = {
        "overrides": arguments.overrides, "seeds": arguments.seeds,
        "runs": {name: [] for name in corners},
    }  # fmt: skip
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        for names in ([ON_POLICY], [name for name in corners if name != ON_POLICY]):
            asked = [
                pool.submit(corner, Path(folder), name, seed, corners[name], arguments.overrides)
                for seed in arguments.seeds
                for name in names
            ]
            for ended in as_completed(asked):
                name, found, versions = ended.result()
                result["runs"][name].append(found)
                result["minutes"] = round((time.perf_counter() - began) / 60, 2)
                write({**result, "versions": versions}, arguments)
    for found in result["runs"].values():
        found.sort(key=lambda run: arguments.seeds.index(run["seed"]))
    return {**result, "versions": versions}


def grid(staleness: Sequence[int], corrections: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what each run asks of the recipe by its name; the first is on policy."""
    corners: dict[str, tuple[str, ...]] = {ON_POLICY: ("rollout.staleness=0",)}
    for steps in staleness:
        for name in corrections:
            asked = (f"rollout.staleness={steps}", *CORRECTIONS[name])
            corners[f"{steps} steps, {name}"] = asked
    return corners


def corner(
    folder: Path, name: str, seed: int, asked: Sequence[str], overrides: Sequence[str]
) -> tuple[str, dict[str, Any], Mapping[str, str]]:
    """Train a corner under a seed; all but the one on policy go on from that one's cold start."""
    cold = folder / folder_of(f"{ON_POLICY}, seed {seed}") / "cold"
    from_cold = [f"policy.checkpoint={cold}", "cold_start.steps=0"] if cold.exists() else []
    given, run_name = [*asked, *from_cold, *overrides], f"{name}, seed {seed}"
    summary, _ = train(folder, run_name, seed, given, recipe="tiny-async")
    found = {"seed": seed, **figures(folder / folder_of(run_name), summary)}
    return name, found, summary["versions"]


def figures(place: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a run."""
    rows = played_rows(read_metrics(place / "metrics.jsonl"))
    shares = [row[key] for row in rows if (key := "sampling/effective_share") in row]
    rewards = [row["reward"] for row in rows]
    return {
        "accuracy_cold": summary["accuracy_cold"],
        "accuracy_trained": summary["accuracy_trained"],
        "last_rewards": statistics.fmean(rewards[-_LAST:]),
        "lag": statistics.fmean(row["rollout/lag"] for row in rows),
        "effective_share": statistics.fmean(shares) if shares else None,
        "least_effective_share": min(shares, default=None),
        "reward_by_step": rewards,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return a line a corner: the mean over the seeds, and the least of them."""
    lines = [f"{'':<20} {'held out':>9} {'least':>7} {'last':>7} {'lag':>5} {'samples':>8}"]
    for name, runs in result["runs"].items():
        held = [each["accuracy_trained"] for each in runs]
        last, lag = (
            statistics.fmean(each[key] for each in runs) for key in ("last_rewards", "lag")
        )
        shares = [share for each in runs if (share := each["effective_share"]) is not None]
        share = f"{statistics.fmean(shares):8.3f}" if shares else f"{'-':>8}"
        lines.append(
            f"{name:<20} {statistics.fmean(held):9.3f} {min(held):7.3f} {last:7.3f}"
            f" {lag:5.2f} {share}"
        )
    return "\n".join(lines)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the reward by step, a panel for each staleness: their mean and range."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    runs = dict(result["runs"])
    base = runs.pop(ON_POLICY)
    panels: dict[str, dict[str, Any]] = {}
    for name, found in runs.items():
        staleness, _, correction = name.partition(", ")
        panels.setdefault(staleness, {})[correction] = found
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(5.5 * len(panels) + 1.5, 3.8), sharey=True, squeeze=False
    )
    for place, (staleness, lines) in zip(axes[0], panels.items(), strict=True):
        _line(place, base, ON_POLICY, "black")
        for (correction, found), color in zip(
            lines.items(), ("tab:red", "tab:blue", "tab:green", "tab:orange"), strict=False
        ):
            _line(place, found, f"correction: {correction}", color)
        place.set(title=f"weights {staleness} old", xlabel="step of GRPO", ylim=(-0.02, 1.02))
    axes[0][0].set_ylabel("share paid")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _line(place: Any, runs: list[Mapping[str, Any]], label: str, color: str) -> None:
    smooth = [
        [statistics.fmean(rewards[max(0, step - 5) : step]) for step in range(1, len(rewards) + 1)]
        for rewards in (each["reward_by_step"] for each in runs)
    ]
    columns = list(zip(*smooth, strict=True))
    steps = range(1, len(columns) + 1)
    place.plot(steps, [statistics.fmean(column) for column in columns], color=color, label=label)
    least, most = [min(column) for column in columns], [max(column) for column in columns]
    place.fill_between(steps, least, most, color=color, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
