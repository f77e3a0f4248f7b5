"""A recipe held against the checkpoint that it names, before anything of weight is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwq_env.dialect import dialect_names, make_dialect
from qwq_env.dialect.base import Dialect
from qwq_env.dialect.load_tokenizer import load_tokenizer
from qwq_env.dialect.template_check import TemplateCheck
from qwq_env.errors import UsageError, brief
from qwq_env.rollout.play import check_thinking
from qwq_env.training.environments import environments_of
from qwq_env.training.plan import check_fit
from qwq_env.training.recipe.parts import Part
from qwq_env.training.recipe.schema import Recipe
from qwq_env.training.stages.stage import stages_of


def check_recipe(recipe: Recipe) -> None:
    """Raise `UsageError` for GPUs that do not hold the policy, an environment that is none, and a
    checkpoint whose chat template does not fit it; for each stage that there is.

    A checkpoint that is not a folder here is left to whoever loads it.
    """
    for stage in stages_of(recipe, Path("runs")):
        _check_part(stage.part, stage.recipe)


def _check_part(part: Part, recipe: Recipe) -> None:
    check_fit(recipe)
    env, _ = environments_of(part)
    check_thinking(recipe.rollout.thinking, env.settings.dialect)
    folder = Path(recipe.policy.checkpoint)
    if recipe.policy.checkpoint != "tiny" and folder.is_dir():
        tokenizer = load_tokenizer(folder, field="policy.checkpoint")
        check_template(recipe, tokenizer, env.settings.dialect)


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
