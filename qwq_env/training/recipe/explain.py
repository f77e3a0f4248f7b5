"""Each key of a recipe: its value, where that came from, and what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from qwq_env.training.recipe.build import apply_override, read_file
from qwq_env.training.recipe.load import load_recipe

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
        if isinstance(value, list) and any(map(dataclasses.is_dataclass, value)):
            inner = _by_name(file.get(name)), _by_name(said.get(name))
            for place, item in enumerate(value):
                key = getattr(item, "name", str(place))
                own = inner[0].get(key, {}), inner[1].get(key, {})
                yield from _keys(item, *own, f"{where}{name}.{key}.")
            continue
        origin: Origin = "override" if name in said else "file" if name in file else "default"
        yield Key(f"{where}{name}", value, origin, field.metadata["what"])


def _by_name(given: Any) -> Mapping[str, Any]:
    """Return the items of a list of sections by the names that their keys are shown under."""
    if isinstance(given, Mapping):
        return given
    return {item.get("name", str(place)): item for place, item in enumerate(given or ())}
