"""From a file and `key=value` overrides to a `Recipe`, and back.

Every key is a field in `schema.py`; an unknown one is refused with the nearest that exists.
Overrides use dotted keys: `grpo.steps=20`. The recipe as it was run lies in the run's folder.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from qwq_env.errors import UsageError, brief, did_you_mean, unknown
from qwq_env.training.recipe.schema import Recipe
from qwq_env.training.recipe.yaml_values import read_yaml, read_yaml_file, write_yaml

_MOST_SECTIONS: Final = 8
_TOO_MANY: Final = 2**32
"""No key counts so far, a seed neither; what does not fit into a machine's word is a slip."""


def build_recipe(value: Mapping[str, Any]) -> Recipe:
    """Return the recipe of plain keys and values; every mistake is a `UsageError`."""
    recipe = _build(Recipe, value, "")
    assert isinstance(recipe, Recipe)
    return recipe


def read_file(path: Path) -> dict[str, Any]:
    """Return what a recipe's file says, unchecked but for its form."""
    value = read_yaml_file(path)
    if value is None:
        raise UsageError(f"recipe: {path}: nothing is said; expected keys, such as name: tiny")
    if not isinstance(value, dict):
        raise UsageError(f"recipe: {path}: {type(value).__name__}; expected keys and values")
    return value


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML, every field written out."""
    return write_yaml(dataclasses.asdict(recipe))


def apply_override(value: dict[str, Any], override: str) -> None:
    """Put what a `key=value` says into `value`, in place."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"override: {brief(override)}; expected key=value, such as grpo.steps=20")
    try:
        override.encode()
    except UnicodeEncodeError:
        raise UsageError(f"override: {brief(override)}; expected text in UTF-8") from None
    *sections, last = key.split(".")
    if len(sections) > _MOST_SECTIONS:
        raise UsageError(f"override: {brief(override)}; expected at most {_MOST_SECTIONS} dots")
    for place, section in enumerate(sections):
        inner = value.setdefault(section, {})
        if isinstance(inner, list):
            inner = _named(inner, ".".join(sections[: place + 1]), (*sections[place + 1 :], last))
        if not isinstance(inner, dict):
            name = brief(section)[1:-1]
            raise UsageError(f"override: {brief(override)}; {name} has no fields")
        value = inner
    try:
        value[last] = read_yaml(text)
    except yaml.YAMLError:
        value[last] = text


def _named(items: list[Any], where: str, following: Sequence[str]) -> dict[str, Any]:
    """Return the items of a list of named sections, such as `stages`, by their names.

    Raises `UsageError` unless `following` goes on into one of them.
    """
    names = {
        item["name"]: item
        for item in items
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    if following[0] not in names:
        raise unknown(f"override: {where}", following[0], names)
    if len(following) == 1:
        raise UsageError(f"override: {where}.{following[0]}; expected one of its keys")
    return names


def _build(kind: type, value: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            name, hint = brief(key)[1:-1], did_you_mean(key, hints)
            raise UsageError(f"recipe: {where}{name}: no such key{hint}; known: {', '.join(hints)}")
    for field in dataclasses.fields(kind):
        given = value.get(field.name)
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        if is_number:
            _check_bounds(given, f"{where}{field.name}", field.metadata)
    arguments = {key: _convert(hints[key], item, f"{where}{key}") for key, item in value.items()}
    return kind(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected keys and values")
        return _build(typing.cast(type, hint), value, f"{where}.")
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if not isinstance(value, str) or value not in choices:
            raise UsageError(f"recipe: {where}: {brief(value)}; expected {' or '.join(choices)}")
        return value
    if isinstance(hint, types.UnionType):
        options = typing.get_args(hint)
        return None if value is None else _convert(options[0], value, where)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected names and values")
        return dict(value)
    if typing.get_origin(hint) is list and dataclasses.is_dataclass(typing.get_args(hint)[0]):
        if not isinstance(value, list):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected a list")
        return [_convert(typing.get_args(hint)[0], item, _item(where, n, item))
                for n, item in enumerate(value)]  # fmt: skip
    if typing.get_origin(hint) is list:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"recipe: {where}: {brief(value)}; expected a list of names")
        return value
    return _scalar(hint, value, where)


def _item(where: str, number: int, item: Any) -> str:
    """Return how an item of a list is called: by its name if it has one, as an override says it."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return f"{where}.{brief(name)[1:-1] if isinstance(name, str) else number}"


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"recipe: {where}: {brief(value)}; expected {hint.__name__}")
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise UsageError(f"recipe: {where}: {brief(value)}; expected 0 or more")
    if isinstance(value, int) and value >= _TOO_MANY:
        raise UsageError(f"recipe: {where}: {brief(value)}; expected less than 2**32")
    return value


def _check_bounds(value: Any, where: str, bounds: Mapping[str, Any]) -> None:
    if bounds["positive"] and not 0 < value < math.inf:
        raise UsageError(f"recipe: {where}: {brief(value)}; expected more than 0")
    least, most = bounds["least"], bounds["most"]
    if least is not None and not value >= least:
        raise UsageError(f"recipe: {where}: {brief(value)}; expected {least:g} or more")
    if most is not None and not value <= most:
        raise UsageError(f"recipe: {where}: {brief(value)}; expected at most {most:g}")
