"""The members of a mixture, as they are given: read, made, and held to one dialect."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from qwq_env.checks import is_number
from qwq_env.dialect import Dialect, make_dialect
from qwq_env.env import ToolEnv
from qwq_env.envs.mixture_tasks import Member, Part
from qwq_env.errors import (
    InfrastructureError,
    QwqError,
    UsageError,
    brief,
    describe_error,
    unknown,
)
from qwq_env.outcome import EpisodeLimits
from qwq_env.registry import creator_of, make_environment

MemberLike = str | ToolEnv | Mapping[str, Any] | Sequence[Any]
"""An id, an environment, either with a weight behind it, or `{"id": ..., "weight": ..., ...}`."""

SPLITS: Final = ("all", "train", "heldout")
_EXPECTED: Final = (
    "an id, an environment, (either, weight), or {'id': ..., 'weight': ..., its arguments}"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A member as it is asked for: what it is, its arguments, a weight or one for each level."""

    made_of: str | ToolEnv
    arguments: Mapping[str, Any]
    weight: Any = 1


@dataclass(frozen=True, slots=True)
class Shared:
    """What a mixture says to all its members: see `MixtureEnv`."""

    split: str
    task_seed: int
    settings: Mapping[str, Any]


def read_members(members: object) -> dict[str, Asked]:
    """Return the members that are asked for, by name; those without a name get that of their id.

    Raises `UsageError` for what is none, and for a name that could not stand in a task's id.
    """
    if isinstance(members, Mapping):
        asked = {name: _within(name, given) for name, given in members.items()}
    elif isinstance(members, Sequence) and not isinstance(members, str | bytes):
        asked = _with_names(_within(str(place), given) for place, given in enumerate(members))
    else:
        raise UsageError(f"members: {brief(members)}; expected names and members, or a list")
    if not asked:
        raise UsageError("members: none; expected at least one")
    for name in asked:
        if not isinstance(name, str) or not name.strip() or "/" in name:
            raise UsageError(f"members: {brief(name)}; expected a name without '/'")
    return asked


def make_member(name: str, asked: Asked, shared: Shared) -> Member:
    """Make a member, with an environment for each of its difficulties.

    Raises `UsageError`, or `InfrastructureError`, that names the member.
    """
    with _named(name):
        if isinstance(asked.made_of, ToolEnv):
            levels = [_adopted(asked.made_of, shared)]
        else:
            difficulty = asked.arguments.get("difficulty")
            if isinstance(difficulty, list | tuple):
                if not difficulty:
                    raise UsageError("difficulty: no level; expected one or more")
                rungs = [{**asked.arguments, "difficulty": each} for each in difficulty]
            else:
                rungs = [dict(asked.arguments)]
            levels = [_adopted(_made(asked.made_of, rung, shared), shared) for rung in rungs]
        weights = _weights(asked.weight, len(levels))
        # What measures must not move: held out, a ladder gives all its levels.
        return Member(name, levels, weights, mixed=shared.split == "heldout")


def with_one_dialect(members: Iterable[Member], given: str | Dialect | None) -> Dialect:
    """Return the dialect that is given, or that all members have. Raises `UsageError` for none."""
    if given is not None:
        return make_dialect(given)
    found = {member.name: member.env.settings.dialect for member in members}
    names = {dialect.name for dialect in found.values()}
    if len(names) > 1:
        told = ", ".join(f"{name}: {dialect.name}" for name, dialect in found.items())
        raise UsageError(f"dialect: the members differ ({told}); expected dialect=, one for all")
    return next(iter(found.values()))


def _within(name: object, given: Any) -> Asked:
    """Read one member; errors name it."""
    try:
        return _asked(given)
    except UsageError as error:
        raise UsageError(f"member {brief(name)[1:-1]}: {error}") from None


def _asked(given: Any) -> Asked:
    if isinstance(given, str | ToolEnv):
        return Asked(given, {})
    if isinstance(given, Mapping):
        named = dict(given)
        made_of, weight = named.pop("id", None), named.pop("weight", 1)
        if not isinstance(made_of, str):
            raise UsageError(f"id: {brief(made_of)}; expected that of a registered environment")
        if isinstance(named.get("limits"), Mapping):  # as a recipe, which is YAML, must say them
            named["limits"] = _limits(named["limits"])
        return Asked(made_of, named, weight)
    if isinstance(given, list | tuple) and len(given) == 2:
        return replace(_asked(given[0]), weight=given[1])
    raise UsageError(f"{brief(given)}; expected {_EXPECTED}")


def _limits(given: Mapping[str, Any]) -> EpisodeLimits:
    for name in given:
        if name not in EpisodeLimits.__dataclass_fields__:
            raise unknown("limits", name, EpisodeLimits.__dataclass_fields__)
    return EpisodeLimits(**given)


def _with_names(asked: Iterable[Asked]) -> dict[str, Asked]:
    named: dict[str, Asked] = {}
    for each in asked:
        made_of = each.made_of
        if isinstance(made_of, ToolEnv):
            name = made_of.spec.name if made_of.spec is not None else type(made_of).__name__
        else:
            name = made_of.rpartition("/")[2].rpartition("-v")[0] or made_of.rpartition("/")[2]
        free, number = name, 1
        while free in named:
            number += 1
            free = f"{name}-{number}"
        named[free] = each
    return named


def _weights(weight: Any, levels: int) -> Sequence[float]:
    weights = list(weight) if isinstance(weight, list | tuple) else [weight] * levels
    if len(weights) != levels:
        raise UsageError(f"weight: {brief(weight)}; expected a number, or one for each difficulty")
    for each in weights:
        if not is_number(each) or not 0 < each < math.inf:
            raise UsageError(f"weight: {brief(each)}; expected a finite number above 0")
    return weights


def _made(environment: str, arguments: Mapping[str, Any], shared: Shared) -> ToolEnv:
    """Make a member of an id, with the split and the seed of the mixture if it knows any."""
    creator = creator_of(environment)
    knows = inspect.signature(creator).parameters if callable(creator) else {}
    said = {"task_seed": shared.task_seed, "split": shared.split}
    given = {name: value for name, value in said.items() if name in knows and value != "all"}
    return make_environment(environment, {**given, **arguments})


def _adopted(env: ToolEnv, shared: Shared) -> ToolEnv:
    """Return the environment with the settings and the split of the mixture; it stays as it is."""
    made = copy.copy(env)
    made.settings = replace(env.settings, **shared.settings)
    # A set that knows splits is made in the one asked for, and says so.
    if shared.split != "all" and getattr(env.tasks, "split", None) != shared.split:
        made.tasks = Part(env.tasks, held_out=shared.split == "heldout")
        if made.tasks.size == 0:
            raise UsageError("tasks: 1; expected 2 or more, for some of them are held out")
    return made


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the member in whatever keeps it from being made."""
    try:
        yield
    except InfrastructureError as error:
        raise InfrastructureError(f"member {name}: {error}") from error
    except QwqError as error:
        raise UsageError(f"member {name}: {error}") from error
    # The boundary to a member of a user's own: whatever keeps it from being made is the recipe's.
    except Exception as error:
        raise UsageError(f"member {name}: {describe_error(error)}") from error
