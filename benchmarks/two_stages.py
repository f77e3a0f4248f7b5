"""Two stages of a tiny policy, under several seeds, and what they come to without outcomes.

    qwq bench two_stages [key=value ...] [--seeds 0 1 2] [--runs DIR] [--json] [--out FILE]

Runs recipes/tiny-two-stage.yaml for each seed. With the first seed's cold policy it then does two
controls: the same stages with rewards drawn by lot, at a tenth of the learning rate (at the whole
one the policy is soon dead, which shows less), and as many more steps of the cold start as both
stages have of GRPO. The result is drawn into results/two_stages.png and written after each run;
what lies in `--runs` and is sealed is not run again. A run that does not end, as when a gate stops
it, is named under `stopped`, and the next begins. Exit code 1 if one is, or unless stage 1 raises
math and code and stage 2 instructions by 0.2, while math and code fall by less than 0.03.
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

from qwq_env.dialect.codec import TokenCodec
from qwq_env.evaluation.heldout import evaluate, summarize
from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.cold_start import cold_start
from qwq_env.training.demonstrations import Demonstrations
from qwq_env.training.environments import environments
from qwq_env.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "recipes/tiny-two-stage.yaml"
STAGES = ("math-and-code", "general")
MEMBERS = ("math", "code", "instruction")
RISE, FALL = 0.2, 0.03

Rates = dict[str, float]


def main(argv: list[str]) -> int:
    """Run all of them; exit code 1 if a seed falls short, or a control does not."""
    parser = argparse.ArgumentParser(prog="qwq bench two_stages", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-controls", action="store_true")
    parser.add_argument("--runs", type=Path, help="where the runs' folders are kept")
    result = run(parser, argv, measure, table)
    if not result["overrides"]:
        draw(result, ROOT / "benchmarks" / "results" / "two_stages.png")
    held = all(holds(name, found) for name, found in result["runs"].items())
    return 0 if held and not result["stopped"] else 1


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run each seed, then the controls."""
    sys.path.insert(0, str(ROOT / "examples"))
    result: dict[str, Any] = {"overrides": arguments.overrides, "runs": {}, "stopped": []}
    with tempfile.TemporaryDirectory() as made:
        runs = arguments.runs or Path(made)
        for seed in arguments.seeds:
            given = [f"name=seed{seed}", f"seed={seed}", *arguments.overrides]
            try:
                result["runs"][f"seed {seed}"] = told(*train(runs, f"seed{seed}", given))
            except subprocess.CalledProcessError:
                result["stopped"].append(f"seed {seed}")
            write(result, arguments)
        if not arguments.no_controls:
            first = arguments.seeds[0]
            cold = runs / f"seed{first}" / "stages" / STAGES[0] / "cold"
            for name, control in (("by lot", by_lot), ("cold start", more_cold_start)):
                result["runs"][name] = control(runs, cold, first, arguments.overrides)
                write(result, arguments)
    return result


def by_lot(runs: Path, cold: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Run both stages with rewards by lot, from the same cold policy."""
    given = [
        "name=by-lot", f"seed={seed}", *overrides, f"stages.{STAGES[0]}.source={cold}",
        "grpo.reward=random", f"stages.{STAGES[1]}.reward_model=null",
    ]  # fmt: skip
    for stage in STAGES:
        given += [f"stages.{stage}.gates=[]", f"stages.{stage}.overrides.grpo.learning_rate=1e-4"]
    return told(*train(runs, "by-lot", given))


def more_cold_start(runs: Path, cold: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Go on with the cold start for as many steps as the stages have; return the rates then."""
    recipe = load_recipe(ROOT / RECIPE, [f"seed={seed}", *overrides])
    env, heldout = environments(recipe)
    model, tokenizer = load_checkpoint(str(cold))
    codec = TokenCodec(tokenizer)
    wanted = recipe.cold_start
    teacher = Demonstrations(env, right=wanted.right, seed=seed + 1)
    lessons = teacher.transcripts(wanted.transcripts)
    steps = sum(stage.steps or recipe.grpo.steps for stage in recipe.stages)
    began = time.perf_counter()
    cold_start(model, codec, lessons, steps=steps, batch=wanted.batch, seed=seed + 1)
    policy = TransformersPolicy(model, codec)
    longest = recipe.grpo.max_completion_tokens
    play = PlaySettings(context=recipe.grpo.context, completion=longest, turn_tokens=longest)
    with policy.generating():
        played = evaluate(
            heldout, policy, codec, size=recipe.evaluation.tasks, play=play, seed=seed
        )
    after = dict(summarize(played, MEMBERS).members)
    first = json.loads((runs / f"seed{seed}" / "summary.json").read_text(encoding="utf-8"))
    before = rates(first["stages"][STAGES[0]], "cold")
    minutes = round((time.perf_counter() - began) / 60, 2)
    return {"points": [[0, before], [steps, after]], "minutes": minutes}


def train(runs: Path, name: str, given: list[str]) -> tuple[dict[str, Any], float]:
    """Run the recipe, or what is left of it; return its summary and the seconds."""
    command = [sys.executable, "-m", "qwq_env.training", RECIPE, *given, "--runs", str(runs)]
    command += ["--resume"] * (runs / name / "recipe.yaml").exists()
    examples = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "examples")))}
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=examples)
    seconds = time.perf_counter() - start
    return json.loads((runs / name / "summary.json").read_text(encoding="utf-8")), seconds


def told(summary: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return the held-out rates by step of GRPO, counted over both stages, and what it took."""
    points: list[tuple[int, Rates]] = []
    done = 0
    for name in STAGES:
        stage = summary["stages"][name]
        if not points:
            points.append((0, rates(stage, "cold")))
        for step, found in stage.get("accuracy_by_step", {}).items():
            points.append((done + int(step), {member: found[member] for member in MEMBERS}))
        done += stage["steps"]
        points.append((done, rates(stage, "trained")))
    spent = {name: summary["stages"][name]["seconds"] for name in STAGES}
    minutes = sum(sum(phases.values()) for phases in spent.values()) / 60
    return {
        "points": points,
        "stage_1_steps": summary["stages"][STAGES[0]]["steps"],
        "reward_model": summary["stages"][STAGES[1]].get("reward_model"),
        "seconds": spent,
        "minutes": round(max(minutes, seconds / 60), 2),
    }


def rates(stage: Mapping[str, Any], when: str) -> Rates:
    """Return the accuracy of each member before or after a stage."""
    return {member: stage["accuracy_by_member"][member][when] for member in MEMBERS}


def three(found: Mapping[str, Any]) -> tuple[Rates, Rates, Rates]:
    """Return the rates at first, between the stages and at the end."""
    points = {int(step): each for step, each in found["points"]}
    return points[0], points[found["stage_1_steps"]], points[max(points)]


def holds(name: str, found: Mapping[str, Any]) -> bool:
    """Say whether a run does what is said of it; a control must not."""
    if "stage_1_steps" not in found:
        begin, end = found["points"][0][1], found["points"][-1][1]
        return all(end[member] < begin[member] + RISE for member in MEMBERS)
    begin, between, end = three(found)
    if name == "by lot":
        return all(end[member] < begin[member] + RISE for member in MEMBERS)
    kept = all(end[member] > between[member] - FALL for member in ("math", "code"))
    raised = all(between[member] >= begin[member] + RISE for member in ("math", "code"))
    return raised and kept and end["instruction"] >= between["instruction"] + RISE


def table(result: Mapping[str, Any]) -> str:
    """Return a line a run and member."""
    lines = []
    for name, found in result["runs"].items():
        for member in MEMBERS:
            way = [each[member] for _, each in found["points"]]
            if "stage_1_steps" in found:
                way = [each[member] for each in three(found)]
            lines.append(f"{name:<12} {member:<12} {' -> '.join(f'{rate:.3f}' for rate in way)}")
        lines.append(f"{name:<12} {found['minutes']:.1f} minutes")
    return "\n".join(lines)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the held-out rates of each member over the steps of both stages."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    looks: dict[str, dict[str, Any]] = {
        "by lot": {"color": "tab:gray", "linestyle": "--", "label": "rewards by lot"},
        "cold start": {"color": "tab:brown", "linestyle": ":", "label": "more cold start"},
    }
    figure, axes = pyplot.subplots(1, len(MEMBERS), figsize=(12, 3.8), sharey=True)
    for place, member in zip(axes, MEMBERS, strict=True):
        for name, found in result["runs"].items():
            look = looks.get(name, {"label": name})
            steps = [step for step, _ in found["points"]]
            values = [each[member] for _, each in found["points"]]
            place.plot(steps, values, marker="o", markersize=3, **look)
        between = next(iter(result["runs"].values()))["stage_1_steps"]
        place.axvline(between, color="black", linewidth=0.8)
        place.set(title=member, xlabel="step of GRPO: stage 1 | stage 2", ylim=(-0.02, 1.02))
        place.grid(alpha=0.3)
    axes[0].set_ylabel("held-out accuracy")
    axes[-1].legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
