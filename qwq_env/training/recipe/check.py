"""What can be wrong with a recipe beyond its form: with its environments, its lessons, its times,
TRL's settings, and the checkpoint that it names.

One list of checks, for whoever runs, plans, launches or only checks it: a run makes them as it
begins, before it loads or writes anything, so that what passes here is refused nowhere later.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.dialect.base import Dialect
from qwq_env.dialect.load_tokenizer import load_tokenizer
from qwq_env.dialect.template_check import TemplateCheck
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.http.client import base_address
from qwq_env.rollout.checkpoint_folder import check_checkpoint, layers_of
from qwq_env.rollout.play import check_thinking
from qwq_env.training.environments import environments, environments_of
from qwq_env.training.limits import WallLimits, check_order, tool_seconds
from qwq_env.training.plan import check_fit
from qwq_env.training.recipe.parts import Part
from qwq_env.training.recipe.schema import Recipe
from qwq_env.training.recipe.trl_fields import OF_THE_MACHINE, needs_trl
from qwq_env.training.shapes import LINEAR_LAYERS, shape_of
from qwq_env.training.stages.stage import stages_of
from qwq_env.training.teachers import Rejection, TranscriptSource, teacher_of


class Checked(NamedTuple):
    """What a part of a run is made of, but for its policy: the environments to train and to
    evaluate in, and who writes the lessons of its cold start, None without one."""

    train: ToolEnv
    heldout: ToolEnv
    teacher: TranscriptSource | Rejection | None


def check_recipe(recipe: Recipe, *, fit: bool = True) -> list[str]:
    """Raise `UsageError` for what a run of the recipe would refuse, for each stage that there is;
    return, a line each, what cannot be told here.

    Without `fit` the GPUs are not asked whether they hold the policy.
    """
    untold: list[str | None] = []
    origins: dict[str, str] = {}
    for stage in stages_of(recipe, Path("runs")):
        # What a stage before is still to make has the shape of what that starts from.
        source = stage.recipe.policy.checkpoint
        origin = origins[str(stage.policy)] = origins.get(source, source)
        if fit:
            untold.append(check_fit(stage.recipe, origin))
        check_part(stage.part, stage.recipe, fit=False)
    return [line for line in dict.fromkeys(untold) if line is not None]


def check_part(part: Part, recipe: Recipe, *, fit: bool = True) -> Checked:
    """Return what a part of a run, whose policy `recipe` has, is made of.

    Raises `UsageError` for whatever is wrong. A checkpoint that is not a folder here is left to
    whoever loads it.
    """
    if fit:
        check_fit(recipe)
    train, heldout = environments_of(part)
    check_thinking(recipe.rollout.thinking, train.settings.dialect)
    _check_times(recipe, train)
    _check_targets(recipe)
    for url in recipe.policy.servers:
        base_address("policy.servers", url)
    teacher = None
    if recipe.cold_steps or recipe.policy.checkpoint == "tiny":
        # Lessons are of all that the recipe is about, whatever part of it this one trains.
        whole = train if part.trained == recipe.environment else environments(recipe)[0]
        teacher = teacher_of(recipe, whole)
    if part.reward_model is not None and part.reward_model.checkpoint is not None:
        field = f"stages.{part.name}.reward_model.checkpoint"
        check_checkpoint(part.reward_model.checkpoint, field=field)
    folder = Path(recipe.policy.checkpoint)
    if recipe.policy.checkpoint != "tiny" and folder.exists():
        check_checkpoint(recipe.policy.checkpoint)
        _check_whole(folder)
        _check_layers(recipe, folder)
        tokenizer = load_tokenizer(folder, field="policy.checkpoint")
        check_template(recipe, tokenizer, train.settings.dialect)
    if needs_trl(recipe.grpo.trl):
        # TRL takes seconds to import, so it is asked last, and only about what it alone can tell.
        from qwq_env.training.grpo import grpo_config  # noqa: PLC0415

        said = {k: v for k, v in recipe.grpo.trl.items() if k not in OF_THE_MACHINE}
        asked = replace(recipe, grpo=replace(recipe.grpo, trl=said))
        grpo_config(asked, Path("runs"), world=recipe.cluster.train or 1)
    return Checked(train, heldout, teacher)


def _check_whole(folder: Path) -> None:
    """Raise `UsageError` for an adapter's folder: what is loaded from it is not to be trained."""
    if (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"policy.checkpoint: {brief(str(folder))} is an adapter's; expected whole weights, as a"
            " recipe with stages leaves them, adapters added in"
        )


def _check_layers(recipe: Recipe, folder: Path) -> None:
    """Raise `UsageError` for frozen layers that leave none to learn."""
    layers, frozen = layers_of(folder), recipe.cold_start.frozen_layers
    if layers is not None and frozen >= layers:
        raise UsageError(
            f"cold_start.frozen_layers: {frozen}; expected fewer than the {layers} there are"
        )


def _check_targets(recipe: Recipe) -> None:
    """Raise `UsageError` for adapters on layers that a policy of a known kind does not have."""
    lora, checkpoint = recipe.policy.lora, recipe.policy.checkpoint
    if lora is None or lora.targets is None:
        return
    if checkpoint != "tiny":
        try:
            shape_of(checkpoint)
        except UsageError:
            return  # of another kind: whoever loads it knows its layers
    for target in lora.targets:
        if target.rpartition(".")[2] not in LINEAR_LAYERS:
            raise unknown("policy.lora.targets", target, LINEAR_LAYERS)


def _check_times(recipe: Recipe, env: ToolEnv) -> None:
    """Raise `UsageError` if a call of a tool may outlive its episode, by an environment's wish."""
    limits = WallLimits(tool_seconds(env.settings.tool_limits), recipe.limits.episode)
    check_order(limits, ("environment: a tool's call", "limits.episode", "", "", ""))


def check_template(recipe: Recipe, tokenizer: Any, dialect: Dialect) -> None:
    """Raise `UsageError` if a chat template writes calls as the environment's dialect does not.

    A policy is asked in one form then, and was taught another. `environment.dialect` said in the
    recipe overrules it, for a policy that is to learn the form; no template is no contradiction.
    """
    if recipe.environment.dialect is not None or not tokenizer.chat_template:
        return
    if _fits(tokenizer, dialect):
        return
    fits = [name for name in dialect_names() if _fits(tokenizer, make_dialect(name))]
    other = f"it fits {' or '.join(fits)}" if fits else "it fits no dialect"
    raise UsageError(
        f"policy.checkpoint: {brief(recipe.policy.checkpoint)} has a chat template that writes"
        f" calls otherwise than the dialect {dialect.name!r}; {other}: say environment.dialect"
    )


def _fits(tokenizer: Any, dialect: Dialect) -> bool:
    """Whether the template writes a single conversation with a call as the dialect does."""
    findings = [found for found in TemplateCheck(tokenizer, dialect).run()
                if found.check in ("renders", "dialect")]  # fmt: skip
    return any(found.passed for found in findings if found.check == "dialect")
