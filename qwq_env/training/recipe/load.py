"""A recipe's file, read and checked as far as it can be without its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qwq_env.training.recipe.build import apply_override, build_recipe, read_file
from qwq_env.training.recipe.parts import parts_of
from qwq_env.training.recipe.schema import Recipe


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key=value` overrides; every mistake is a `UsageError`."""
    value = read_file(Path(path))
    for override in overrides:
        apply_override(value, override)
    recipe = build_recipe(value)
    parts_of(recipe)
    return recipe
