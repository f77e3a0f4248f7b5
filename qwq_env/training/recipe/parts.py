"""The parts that a recipe is run in: one for each of its `stages`, or it is one part itself.

Each part is a recipe without stages, so that whatever runs, plans or launches a recipe knows no
other kind.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.training.recipe.build import build_recipe
from qwq_env.training.recipe.schema import EnvironmentRecipe, Recipe
from qwq_env.training.recipe.stages import GateRecipe, RewardModelRecipe, StageRecipe

POLICY: Final = "policy"
"""The source that is no stage and no folder: what `policy` says, cold start and all."""
_MIXTURE: Final = "qwq/Mixture-v0"
_SAID_ELSEWHERE: Final = {
    "name": "name", "stages": "stages", "cluster": "cluster, which all stages share",
    "policy.checkpoint": "source", "grpo.steps": "steps", "grpo.dynamic": "dynamic",
}  # fmt: skip


class Part(NamedTuple):
    """One part of a run.

    `recipe` has no stages; its `environment` is that of cold start and evaluation, and `trained`
    what is trained in. `source` is "policy", the name of a part before, or a folder or id.
    """

    name: str
    source: str
    recipe: Recipe
    trained: EnvironmentRecipe
    gates: tuple[GateRecipe, ...] = ()
    reward_model: RewardModelRecipe | None = None


def parts_of(recipe: Recipe) -> list[Part]:
    """Return the parts in their order. Raises `UsageError` that names the stage and the key."""
    if not recipe.stages:
        return [Part("", POLICY, recipe, recipe.environment)]
    names = [stage.name for stage in recipe.stages]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"recipe: stages: {brief(name)} twice; expected names of their own")
    members = _all_members(recipe)
    parts: list[Part] = []
    for place, stage in enumerate(recipe.stages):
        with_prefix = f"recipe: stages.{stage.name}"
        source = stage.source or (names[place - 1] if place else POLICY)
        if source in names[place:]:
            raise UsageError(
                f"{with_prefix}.source: {brief(source)} is not before it; expected a stage before,"
                " 'policy' or a folder"
            )
        try:
            parts.append(_part(recipe, stage, source, members))
        except UsageError as error:
            raise UsageError(f"{with_prefix}: {str(error).removeprefix('recipe: ')}") from None
    return parts


def _part(recipe: Recipe, stage: StageRecipe, source: str, members: Mapping[str, Any]) -> Part:
    value = dataclasses.asdict(dataclasses.replace(recipe, stages=[]))
    if source != POLICY:
        value["cold_start"]["steps"] = 0
    if members:
        value["environment"]["arguments"]["members"] = dict(members)
    if stage.curriculum is not None:
        if value["environment"]["id"] != _MIXTURE:
            raise UsageError(f"curriculum: expected environment.id={_MIXTURE}")
        if not any(_climbs(member) for member in members.values()):
            raise UsageError("curriculum: no member has a list of difficulties to climb")
        value["environment"]["arguments"]["curriculum"] = stage.curriculum
    for key, said in (("steps", stage.steps), ("dynamic", stage.dynamic)):
        if said is not None:
            value["grpo"][key] = said
    for key, said in [*_leaves({"evaluation": stage.evaluation}), *_leaves(stage.overrides)]:
        _put(value, key, said)
    made = build_recipe(value)
    known = _names(made.environment)
    for gate in stage.gates:
        if gate.member not in ("all", *known):
            raise unknown("gates: member", gate.member, ["all", *known])
    trained = made.environment
    if stage.mixture is not None:
        trained = narrowed(made.environment, stage.mixture)
    if stage.reward_model is not None:
        taught = _names(trained)
        if stage.reward_model.member not in taught:
            raise unknown("reward_model.member", stage.reward_model.member, taught)
        if not 0 < stage.reward_model.heldout < 1:
            raise UsageError(
                f"reward_model.heldout: {stage.reward_model.heldout:g}; expected a share, 0 to 1"
            )
    return Part(stage.name, source, made, trained, tuple(stage.gates), stage.reward_model)


def with_reward_model(wanted: EnvironmentRecipe, member: str, folder: str) -> EnvironmentRecipe:
    """Return the environment in which a member is paid by the reward model in `folder`."""
    members = dict(wanted.arguments["members"])
    given = members[member]
    spelled = {"id": given} if isinstance(given, str) else dict(given)
    members[member] = {**spelled, "reward_model": folder}
    return dataclasses.replace(wanted, arguments={**wanted.arguments, "members": members})


def _all_members(recipe: Recipe) -> dict[str, Any]:
    """Return the members of the recipe's mixture, with those that its stages bring."""
    given = recipe.environment.arguments.get("members")
    members = dict(given) if isinstance(given, Mapping) else {}
    brought: dict[str, Any] = {}
    for stage in recipe.stages:
        for name, said in (stage.mixture or {}).items():
            if isinstance(said, str | Mapping):
                if name in members or brought.get(name, said) != said:
                    raise UsageError(
                        f"recipe: stages.{stage.name}.mixture.{name}: said twice; expected its"
                        " share alone"
                    )
                brought[name] = said
    if brought and recipe.environment.id != _MIXTURE:
        raise UsageError(
            f"recipe: stages: members of their own; expected environment.id={_MIXTURE}"
        )
    return members | brought


def narrowed(wanted: EnvironmentRecipe, mixture: Mapping[str, Any]) -> EnvironmentRecipe:
    """Return the environment with the members of a stage's mixture, in its shares."""
    known = wanted.arguments.get("members")
    if wanted.id != _MIXTURE or not isinstance(known, Mapping):
        raise UsageError(f"mixture: expected environment.id={_MIXTURE}, with members by name")
    members = {}
    for name, said in mixture.items():
        if name not in known:
            raise unknown("mixture: member", name, known)
        given = known[name]
        spelled = {"id": given} if isinstance(given, str) else dict(given)
        share = said if is_number(said) else spelled.get("weight", 1)
        if is_number(share) and not 0 < share < math.inf:
            raise UsageError(f"mixture.{name}: {brief(share)}; expected a share, more than 0")
        members[name] = {**spelled, "weight": share}
        if not is_number(said) and not isinstance(said, str | Mapping):
            raise UsageError(f"mixture.{name}: {brief(said)}; expected a share")
    if not members:
        raise UsageError("mixture: no member; expected one or more, or no mixture")
    return dataclasses.replace(wanted, arguments={**wanted.arguments, "members": members})


def _names(wanted: EnvironmentRecipe) -> list[str]:
    """Return the names of a mixture's members; those of a list have none that a recipe knows."""
    members = wanted.arguments.get("members")
    return list(members) if isinstance(members, Mapping) else []


def _climbs(member: object) -> bool:
    return isinstance(member, Mapping) and isinstance(member.get("difficulty"), list | tuple)


def _leaves(said: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of an override by their whole names; sections may be nested, or dotted."""
    for name, value in said.items():
        key = f"{where}{name}"
        if key in _SAID_ELSEWHERE or key.partition(".")[0] in _SAID_ELSEWHERE:
            expected = _SAID_ELSEWHERE.get(key) or _SAID_ELSEWHERE[key.partition(".")[0]]
            raise UsageError(f"overrides.{key}: expected it as {expected}")
        # What stands below arguments and trl is a value, whatever it looks like.
        if isinstance(value, Mapping) and key.count(".") < 1:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _put(value: dict[str, Any], key: str, said: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = value.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"overrides.{key}: {section} has no fields")
        value = inner
    value[last] = said
