"""The rates of a run that was: what its GPUs, or its processes on a CPU, sampled and learned from.

`metrics.jsonl` has what all its processes did in each step, and in how many seconds; `recipe.yaml`
how many GPUs there were. A policy of another size is taken to cost as much a token and parameter:
attention, whose part grows with the context, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_objects
from qwq_env.training.gpus import gpu_kind
from qwq_env.training.recipe import Recipe, load_recipe
from qwq_env.training.shapes import Shape, shape_of
from qwq_env.training.step_time import Rate, Rates
from qwq_env.training.updates import updates_of

_READ: Final[Mapping[str, float | None]] = {
    "rollout/seconds": None, "step_time": None, "num_tokens": None, "episode/tokens/policy": None,
    "weights/seconds": 0.0, "episode/tokens/tool": 0.0, "episode/tokens/user": 0.0,
    "dynamic/groups": 0.0,
}  # fmt: skip
"""What is read of a step, and what it is where the step does not say it; None: it has to."""


class _Sums(NamedTuple):
    """What the steps of a run came to, over all its processes: tokens and seconds."""

    steps: int
    sampled: float
    sampling: float
    learned: float
    learning: float


class _Places(NamedTuple):
    """How many sampled and trained, and what they were."""

    sample: int
    train: int
    hardware: str


def measured_rates(run: Path, recipe: Recipe, shape: Shape, kind: str) -> Rates:
    """Return the rates of the run in a folder, for a recipe whose policy has `shape` on GPUs of a
    `kind`; a note says what differs.

    Raises `UsageError` for a folder that holds no such run.
    """
    try:
        begun = load_recipe(run / "recipe.yaml")
    except UsageError as error:
        raise UsageError(f"measured: {error}") from None
    places = _places(run, begun)
    sums = _sums(run / "metrics.jsonl", begun, places.train)
    theirs = _shape(run, begun)
    scale = theirs.parameters / shape.parameters
    scaled = f" × {theirs.parameters} / {shape.parameters} parameters" if scale != 1 else ""

    def rate(tokens: float, what: str, seconds: float, number: int) -> Rate:
        why = f"{tokens:.0f} tokens {what} in {seconds:.1f} seconds / {number} × {places.hardware}"
        return Rate(tokens / seconds / number * scale, f"{why}{scaled}")

    compared = {
        "the policy's parameters": (theirs.parameters, shape.parameters),
        "hardware": (places.hardware, kind),
        "policy.sampler": (begun.policy.sampler, recipe.policy.sampler),
        "policy.lora": (begun.policy.lora is not None, recipe.policy.lora is not None),
    }
    others = [f"{name} {there} (here {here})"
              for name, (there, here) in compared.items() if there != here]  # fmt: skip
    other = f"; what differs: {', '.join(others)}" if others else ""
    return Rates(
        rate(sums.sampled, "sampled", sums.sampling, places.sample),
        rate(sums.learned, "learned from", sums.learning, places.train),
        (f"the rates are those of {run}, {sums.steps} steps{other}",),
    )


def _places(run: Path, begun: Recipe) -> _Places:
    cluster, policy = begun.cluster, begun.policy
    if cluster.gpus:
        said = cluster.kind
        kind = "GPU of a kind not said" if said is None else gpu_kind(said, "cluster.kind")
        return _Places(cluster.serve or cluster.train, cluster.train, kind)
    # Without GPUs the recipe does not say how many processes there were; each has a file.
    processes = 1 + len(list(run.glob("episodes-rank*.jsonl")))
    if begun.grpo.episodes % processes:
        raise UsageError(
            f"measured: {run}: episodes of {processes} processes; expected as many as divide"
            f" grpo.episodes ({begun.grpo.episodes})"
        )
    sample = max(len(policy.servers), 1) if policy.sampler == "vllm" else processes
    return _Places(sample, processes, "CPU process")


def _sums(metrics: Path, begun: Recipe, world: int) -> _Sums:
    """Add up a run's rows, one for each batch of episodes.

    Rollouts are what all episodes took together, tools and waiting included. A row has the seconds
    of its batch's first optimizer step, and so a share of what is learned from the batch.
    """
    grpo, updates = begun.grpo, updates_of(begun, world)
    steps, sampled, sampling, learned, added, learning = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for number, row in read_objects(metrics, field="measured", constants=True, appended=True):
        if "reward" not in row:
            continue  # a further step on a batch that is counted already
        read = {}
        for name, default in _READ.items():
            value = row.get(name, default)
            if not is_number(value) or not 0 <= value < math.inf:
                raise UsageError(
                    f"measured: {metrics}:{number}: {name}: {brief(value)}; expected a number, as"
                    " a run logs it"
                )
            read[name] = float(value)
        played = read["dynamic/groups"] * grpo.group or grpo.episodes
        steps += 1
        sampled += played * read["episode/tokens/policy"]
        sampling += read["rollout/seconds"]
        learned = read["num_tokens"]  # of all steps so far: prompts and what the policy wrote
        added += grpo.episodes * (read["episode/tokens/tool"] + read["episode/tokens/user"])
        learning += read["step_time"] - read["rollout/seconds"] - read["weights/seconds"]
    learned = (learned + added) * updates.iterations / updates.steps
    if min(sampled, sampling, learned, learning) <= 0:
        raise UsageError(
            f"measured: {metrics}: {steps} steps, {sampled:g} tokens sampled in {sampling:g}"
            f" seconds, {learned:g} learned from in {learning:g}; expected more than 0 of each"
        )
    return _Sums(steps, sampled, sampling, learned, learning)


def _shape(run: Path, begun: Recipe) -> Shape:
    """Return the shape of a run's policy: of what it left, or of what it began with."""
    for folder in (run / "policy", run / "cold"):
        if (folder / "config.json").is_file():
            return shape_of(str(folder))
    try:
        return shape_of(begun.policy.checkpoint)
    except UsageError:
        raise UsageError(
            f"measured: {run}: no policy/config.json, and {brief(begun.policy.checkpoint)} is not"
            " known here; expected a run that has ended"
        ) from None
