"""`qwq plan RECIPE --gpus 8xH100`: what of a recipe fits on which GPUs, how long a step takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from qwq_env.cli.arguments import add_recipe
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.training.plan import Plan, Side
    from qwq_env.training.step_time import StepTime

_NO_RATES = (
    "seconds of a step: not without rates; --rates sampler=TOKENS_PER_SECOND"
    " trainer=TOKENS_PER_SECOND (of one GPU), or --measured RUN"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq plan`."""
    parser = subparsers.add_parser(
        "plan",
        help="say what of a recipe fits on which GPUs",
        description="Computed from the checkpoint's config alone, and the seconds of a step from"
        " rates that you give. Exits 1 if it does not fit.",
    )
    add_recipe(parser)
    parser.add_argument("--gpus", help="such as 8xH100; by default the recipe's cluster")
    parser.add_argument("--config", type=Path, help="a config.json in place of the checkpoint's")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument(
        "--rates", nargs=2, metavar=("sampler=N", "trainer=N"),
        help="tokens a second that a GPU samples, and that one learns from",
    )  # fmt: skip
    rates.add_argument("--measured", type=Path, metavar="RUN", help="take the rates of that run")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan. Exit code 1 if something does not fit."""
    from qwq_env.training.plan import gpus_of, make_plan, read_gpus  # noqa: PLC0415 - train extra
    from qwq_env.training.recipe import load_recipe  # noqa: PLC0415 - likewise
    from qwq_env.training.recipe.check import check_recipe  # noqa: PLC0415 - likewise
    from qwq_env.training.recipe.parts import parts_of  # noqa: PLC0415 - likewise
    from qwq_env.training.shapes import shape_of  # noqa: PLC0415 - likewise

    plans: list[tuple[list[str], Plan, StepTime | None]] = []
    whole = load_recipe(arguments.recipe, arguments.overrides)
    check_recipe(whole, fit=False)
    for part in parts_of(whole):
        recipe = part.recipe
        gpus = gpus_of(recipe) if arguments.gpus is None else read_gpus(arguments.gpus)
        plan = make_plan(recipe, shape_of(recipe.policy.checkpoint, arguments.config), gpus)
        step = _step_time(arguments, plan)
        # Stages that come to the same are told once.
        same = next((names for names, other, timed in plans
                     if other.sides == plan.sides and timed == step), None)  # fmt: skip
        if same is None:
            plans.append(([part.name], plan, step))
        else:
            same.append(part.name)
    if arguments.json:
        told = {", ".join(names): _as_json(plan, step) for names, plan, step in plans}
        print(json.dumps(told if len(told) > 1 else next(iter(told.values())), indent=1))
    else:
        for names, plan, step in plans:
            head = [f"stage {', '.join(names)}"] if len(plans) > 1 else []
            print(printable("\n".join([*head, *_as_text(plan), "", *_step_as_text(step)])))
    return 0 if all(plan.fits for _, plan, _ in plans) else 1


def _step_time(arguments: argparse.Namespace, plan: Plan) -> StepTime | None:
    """Return how long a step takes by the rates that are given, None where none are."""
    from qwq_env.training.measured_rates import measured_rates  # noqa: PLC0415 - train extra
    from qwq_env.training.step_time import read_rates, step_time  # noqa: PLC0415 - likewise

    if arguments.rates is not None:
        return step_time(plan.recipe, read_rates(arguments.rates))
    if arguments.measured is None:
        return None
    rates = measured_rates(arguments.measured, plan.recipe, plan.shape, plan.gpus.kind)
    return step_time(plan.recipe, rates)


def _as_text(plan: Plan) -> list[str]:
    recipe, gpus = plan.recipe, plan.gpus
    lines = [
        f"{recipe.policy.checkpoint}: {plan.shape.parameters / 1e9:.2f} B parameters, rows of"
        f" {recipe.grpo.context} tokens, {recipe.cluster.strategy}, on {gpus.number} × {gpus.kind}"
    ]
    for side in plan.sides:
        each = f"each of the {side.gpus} GPUs that {side.name}"
        each = each if side.gpus > 1 else f"the GPU that {side.name}s"
        lines += ["", f"{each} (GB of {_gb(side.capacity)})"]
        lines += [f"  {line.name:<12}{_gb(line.bytes):>7}  {line.why}" for line in side.lines]
        lines.append(f"  {'together':<12}{_gb(side.used):>7}  {_verdict(side)}")
    if plan.episodes is not None:
        lines += ["", f"the servers hold {plan.episodes} episodes of {recipe.grpo.context} tokens"
                  f" at a time; a step plays {recipe.grpo.episodes}"]  # fmt: skip
    if not plan.fits:
        lines += ["", "it would fit with (the nearest first):"]
        lines += [f"  {change.what}: {_sizes(change.sides)}" for change in plan.changes]
        if not plan.changes:
            lines.append("  nothing that was tried")
    return lines


def _step_as_text(step: StepTime | None) -> list[str]:
    if step is None:
        return [_NO_RATES]
    rates = [("sampler", step.rates.sampler), ("trainer", step.rates.trainer)]
    return [
        "seconds of a step: typical (completions of half the bound), worst (of all of it)",
        *(f"  {term.name:<12}{_short(term.typical):>7}{_short(term.worst):>9}  {term.why}"
          for term in step.terms),
        f"  {'together':<12}{_short(step.typical):>7}{_short(step.worst):>9}",
        "  tokens a second of one GPU",
        *(f"  {name:<12}{_short(rate.tokens):>7}  {rate.why}" for name, rate in rates),
        *(f"  {note}" for note in step.notes),
    ]  # fmt: skip


def _verdict(side: Side) -> str:
    line = side.too_much
    return "fits" if line is None else f"DOES NOT FIT; the first too much: {line.name}"


def _sizes(sides: tuple[Side, ...]) -> str:
    return ", ".join(f"{side.name} {_gb(side.used)} of {_gb(side.capacity)}" for side in sides)


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f}" if size < 1e9 else f"{size / 1e9:.1f}"


def _short(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"


def _as_json(plan: Plan, step: StepTime | None) -> dict[str, object]:
    return {
        "gpus": {"count": plan.gpus.number, "kind": plan.gpus.kind},
        "parameters": plan.shape.parameters,
        "fits": plan.fits,
        "episodes_at_a_time": plan.episodes,
        "sides": [
            {
                "name": side.name,
                "gpus": side.gpus,
                "capacity": round(side.capacity),
                "used": round(side.used),
                "too_much": None if side.too_much is None else side.too_much.name,
                "lines": [{**line._asdict(), "bytes": round(line.bytes)} for line in side.lines],
            }
            for side in plan.sides
        ],
        "changes": [change.what for change in plan.changes],
        "step": None if step is None else _step_as_json(step),
    }


def _step_as_json(step: StepTime) -> dict[str, object]:
    return {
        "typical": step.typical,
        "worst": step.worst,
        "optimizer_steps": step.steps,
        "terms": [term._asdict() for term in step.terms],
        "rates": {
            "sampler": step.rates.sampler._asdict(),
            "trainer": step.rates.trainer._asdict(),
        },
        "notes": list(step.notes),
    }
