"""The model card of a run: `README.md` in the run's folder, and beside its policy's weights.

What a colleague asks who gets the weights: what was trained from what, on which tasks, how much
better it is for it and how sure that is, how it is loaded and played, and what one may do with it.
All of it is read from the run's folder; what is not there yet is not said.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from qwq_env.errors import UsageError
from qwq_env.evaluation.heldout import Result
from qwq_env.evaluation.statistics import Mean, paired_difference, share_interval
from qwq_env.files.atomic import write_whole
from qwq_env.rollout.stored import StoredRun
from qwq_env.training.recipe import Recipe, dump_recipe
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.summary import versions

_PHASES: Final = {
    "cold": "before GRPO", "trained": "after GRPO", "greedy": "after GRPO, greedy",
}  # fmt: skip
_MOST_FRONT: Final = 1 << 20


def write_model_card(folder: Path, run: RunFolder, recipe: Recipe) -> None:
    """Write `README.md` into `folder`: that of `run` itself, of its policy, or of a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    where = {run.path: run.policy.name, run.checkpoints: "checkpoint-N"}
    # A stage adds its adapter to whole weights, for the next to start from.
    merged = run.adapter.exists() and folder != run.checkpoints
    adapter = recipe.policy.lora is not None and not merged
    use = _use(recipe, where.get(folder, "."), adapter=adapter)
    whole = f"```yaml\n{dump_recipe(recipe)}```"
    parts = [_front(recipe, adapter=adapter), _beginning(recipe), _figures(run, recipe),
             _origin(run, recipe), use, f"## Recipe\n\n{whole}"]  # fmt: skip
    write_whole(folder / "README.md", "\n\n".join(filter(None, parts)) + "\n")


def licence_of(checkpoint: str) -> str | None:
    """Return the licence that a checkpoint's own card names; None if there is no such card here.

    Nothing is downloaded: of a model of the hub, its card is looked for where models are cached.
    """
    card = Path(checkpoint) / "README.md"
    if not card.is_file():
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - of the hub's models

        try:
            found = try_to_load_from_cache(checkpoint, "README.md")
        except ValueError:  # no name that the hub could have
            return None
        if not isinstance(found, str):
            return None
        card = Path(found)
    try:
        text = card.read_text(encoding="utf-8")[:_MOST_FRONT]
        front = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (OSError, ValueError, IndexError, yaml.YAMLError):
        return None
    named = front if isinstance(front, dict) else {}
    licence = named.get("license_name") or named.get("license")
    return licence if isinstance(licence, str) else None


def _is_tiny(recipe: Recipe) -> bool:
    return recipe.policy.checkpoint == "tiny"


def _licence(recipe: Recipe) -> str | None:
    return None if _is_tiny(recipe) else licence_of(recipe.policy.checkpoint)


def _front(recipe: Recipe, *, adapter: bool) -> str:
    """Return what the hub reads of a card."""
    base, licence = recipe.policy.checkpoint, _licence(recipe)
    told: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["qwq-env", "trl", "grpo", "tool-use"],
    }
    if not _is_tiny(recipe) and not Path(base).exists():
        told["base_model"] = base
    if licence is not None:
        told["license"] = licence
    return f"---\n{yaml.safe_dump(told, sort_keys=False)}---"


def _beginning(recipe: Recipe) -> str:
    base = "a policy made from nothing" if _is_tiny(recipe) else f"`{recipe.policy.checkpoint}`"
    grpo = recipe.grpo
    control = "" if grpo.reward == "environment" else " The rewards were drawn by lot: a control."
    return (
        f"# {recipe.name}\n\nTrained with qwq-env: GRPO of TRL on {base}, in the environment"
        f" `{recipe.environment.id}`, {grpo.steps} steps of {grpo.episodes} episodes in groups of"
        f" {grpo.group}, seed {recipe.seed}.{control} It was trained for these tasks and these"
        " tools; what it does elsewhere was not measured."
    )


def _figures(run: RunFolder, recipe: Recipe) -> str:
    """Return the evaluations that have ended, each with how far chance reaches."""
    found = {name: done for name in _PHASES if (done := run.result(name)) is not None}
    if "cold" not in found:
        return ""
    lines = ["## Held-out figures", "", "| | episodes | right (95 %) | calls a tool | turns | cut |"
             " lost |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {_PHASES[name]} | {each.episodes} | {_share(each)} | {each.tool_call_rate:.1%} |"
        f" {each.mean_turns:.1f} | {each.truncated:.1%} | {each.lost} |"
        for name, each in found.items()
    ]
    for member in found["cold"].members:
        rates = ", ".join(
            f"{_PHASES[name]} {each.members[member]:.3f}"
            for name, each in found.items() if member in each.members
        )  # fmt: skip
        lines += ["", f"Right in `{member}`: {rates}."]
    if "trained" not in found:
        return "\n".join([*lines, "", "The training had not ended when this was written."])
    lines += ["", *_gain(run)]
    sampled = f"Sampled at temperature {recipe.grpo.temperature:g} but for the greedy ones"
    return "\n".join([*lines, "", f"{sampled}; one episode a task, on tasks not trained on."])


def _share(result: Result) -> str:
    decided, share = result.episodes - result.lost, result.accuracy
    if decided < 2:
        return f"{share:.3f}"
    mean = Mean(share, math.sqrt(share * (1 - share) / (decided - 1)))
    reach = share_interval(mean, decided)
    return f"{share:.3f}" + ("" if reach is None else f" ({reach.low:.3f} to {reach.high:.3f})")


def _gain(run: RunFolder) -> Iterator[str]:
    """Yield what the training changed, task by task, where its episodes can be read."""
    try:
        stored = StoredRun.open(run.path)
        before, after = (
            {episode.task: [float(episode.right)] for episode in stored.episodes(phase=phase)
             if episode.right is not None}
            for phase in ("cold", "trained")
        )  # fmt: skip
    except UsageError:
        return
    gain = paired_difference(before, after)
    if gain is None or gain.interval is None:
        return
    yield (
        f"On the same {gain.tasks} tasks, {gain.value:+.3f} ({gain.interval.low:+.3f} to"
        f" {gain.interval.high:+.3f}): {len(gain.gained)} are right now that were not,"
        f" {len(gain.lost)} were and are not (McNemar's exact p {gain.p_value:.2g})."
    )


def _origin(run: RunFolder, recipe: Recipe) -> str:
    environment, cold, grpo = recipe.environment, recipe.cold_start, recipe.grpo
    own = "the environment's own"
    source = f"`{cold.demonstrations}`" if cold.demonstrations else f"`{cold.source}`"
    facts = [
        ("Started from", "nothing" if _is_tiny(recipe) else f"`{recipe.policy.checkpoint}`"),
        ("Its licence", _licence(recipe) or ("" if _is_tiny(recipe) else "not known here")),
        ("Cold start", f"{recipe.cold_steps} supervised steps on transcripts of {source}"
         if recipe.cold_steps else "none"),
        ("Tasks", f"`{environment.tasks}`" if environment.tasks else own),
        ("Held-out tasks", f"`{environment.heldout_tasks}`" if environment.heldout_tasks else own),
        ("Difficulty", str(environment.difficulty or "")),
        ("Tools", _named(environment.tools) or own),
        ("Groups of episodes", f"{grpo.steps * grpo.episodes // grpo.group}"),
        ("Seed", f"{recipe.seed}, of everything that is drawn"),
        ("Weights", "all" if recipe.policy.lora is None else f"adapters of rank"
         f" {recipe.policy.lora.rank}"),
        ("Wall time", ", ".join(f"{name.replace('_', ' ')} {seconds:.0f} s" for name, seconds
                                in (run.done("seconds") or {}).items())),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
    ]  # fmt: skip
    return "## How it came about\n\n" + "\n".join(f"- {n}: {what}" for n, what in facts if what)


def _named(tools: Sequence[str] | None) -> str:
    return ", ".join(f"`{name}`" for name in tools or ())


def _use(recipe: Recipe, policy: str, *, adapter: bool) -> str:
    """Return how it is loaded and played; `policy` is where it lies, seen from the card."""
    kind = "AutoModelForCausalLM"
    imports = "from transformers import AutoModelForCausalLM, AutoTokenizer"
    if adapter:
        kind = "AutoPeftModelForCausalLM"
        imports = f"from peft import {kind}\nfrom transformers import AutoTokenizer"
    environment = recipe.environment
    module, own, _ = environment.id.partition(":")
    found = f"PYTHONPATH=FOLDER_OF_{module.upper()} " if own and module != "qwq_env" else ""
    return (
        "## Use\n\nIn this folder:\n\n```python\n"
        f"{imports}\n\n"
        f'model = {kind}.from_pretrained("{policy}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{policy}")\n```\n\n'
        "Play it as it was played here, and read what it does; the episodes of the training lie in"
        f" the run's folder:{_warning(recipe)}\n\n"
        "```sh\n"
        f"{found}qwq eval {environment.id} --checkpoint {policy} --out played \\\n"
        f"  {shlex.join(_as_played(recipe))}\nqwq view played\n```"
    )


def _warning(recipe: Recipe) -> str:
    """Return what is to be known of a file of which the last tasks were held out."""
    environment = recipe.environment
    if environment.tasks is None or environment.heldout_tasks is not None:
        return ""
    return (
        f" (of `{environment.tasks}` the last {recipe.evaluation.tasks} tasks, at most half, were"
        " not trained on; it is played from its first on)"
    )


def _as_played(recipe: Recipe) -> list[str]:
    """Return the options of `qwq eval` that say what the recipe says of tasks and episodes."""
    environment, grpo = recipe.environment, recipe.grpo
    said = {
        "tasks": environment.heldout_tasks or environment.tasks,
        "limit": recipe.evaluation.tasks,
        "dialect": environment.dialect,
        "difficulty": environment.difficulty,
        "turns": environment.turns,
        "tool-calls": environment.tool_calls,
        "temperature": grpo.temperature,
        "context": grpo.context,
        "completion": grpo.max_completion_tokens,
        "turn-tokens": grpo.max_completion_tokens,
        "thinking": recipe.rollout.thinking,
    }
    options = [word for name, value in said.items() if value is not None
               for word in (f"--{name}", str(value))]  # fmt: skip
    for name, value in environment.arguments.items():
        options += ["--argument", f"{name}={json.dumps(value)}"]
    return options + (["--tools", *environment.tools] if environment.tools is not None else [])
