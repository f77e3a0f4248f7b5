"""Each key of a recipe: its value, where that came from, and what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from qwq_env.training.recipe.build import apply_override, load_recipe, read_file

Origin = Literal["default", "file", "override"]


class Key(NamedTuple):
    """One key; `value` as it is used, `origin` where it was said."""

    name: str
    value: Any
    origin: Origin
    what: str


def explain(path: Path, overrides: Sequence[str] = ()) -> Iterator[Key]:
    """Yield every key of a recipe in the order of the schema. Raises `UsageError` like a load."""
    recipe = load_recipe(path, overrides)
    said: dict[str, Any] = {}
    for override in overrides:
        apply_override(said, override)
    yield from _keys(recipe, read_file(path), said, "")


def _keys(
    section: Any, file: Mapping[str, Any], said: Mapping[str, Any], where: str
) -> Iterator[Key]:
    for field in dataclasses.fields(section):
        value, name = getattr(section, field.name), field.name
        if dataclasses.is_dataclass(value):
            inner = file.get(name), said.get(name)
            yield from _keys(value, inner[0] or {}, inner[1] or {}, f"{where}{name}.")
            continue
        origin: Origin = "override" if name in said else "file" if name in file else "default"
        yield Key(f"{where}{name}", value, origin, field.metadata["what"])
