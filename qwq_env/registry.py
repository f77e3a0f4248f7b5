"""From a Gymnasium id to the `ToolEnv` behind it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

import qwq_env
from qwq_env.checks import refuse_unknown_arguments
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.imports import import_named, why_missing

_NO_TOOL_ENV = "environment: %s is no ToolEnv; expected an id of qwq/..."


def make_environment(
    environment: str, arguments: Mapping[str, Any] | None = None, *, split: str | None = None
) -> ToolEnv:
    """Make the `ToolEnv` of a Gymnasium id, or of `MODULE:CLASS`, without wrappers; on that `split`
    if its class knows splits.

    Raises `UsageError` for an id that is not registered, or that is no `ToolEnv`'s, and for an
    argument that its class does not take.
    """
    # The ids exist once the package has been imported.
    assert qwq_env.__version__
    try:
        creator = creator_of(environment)
        on_split = {} if split is None or not _takes_split(creator) else {"split": split}
        given = {**on_split, **(arguments or {})}
        _refuse_arguments(environment, creator, given)
        if creator is not None and environment.rpartition(":")[2] not in gym.registry:
            made: Any = _made_of(creator, environment, given)
        else:
            # The checker wraps `step`, which the engine does not call.
            made = gym.make(environment, disable_env_checker=True, **given).unwrapped
    except gym.error.UnregisteredEnv as error:
        # The ids of a module that nobody has imported are not there yet.
        module, colon, name = brief(environment)[1:-1].rpartition(":")
        hint = (
            f"{module} registers no such id, and has no ToolEnv of that name" if colon
            else f"if a module of yours registers it, name that in front: MODULE:{name}"
        )  # fmt: skip
        raise UsageError(f"environment: {error}; {hint}") from None
    except ModuleNotFoundError as error:  # of a class that is named by its module
        raise UsageError(f"environment: {why_missing(environment, error)}") from None
    except gym.error.Error as error:
        raise UsageError(f"environment: {error}") from None
    if not isinstance(made, ToolEnv):
        raise UsageError(_NO_TOOL_ENV % brief(environment))
    return made


def _made_of(creator: Any, environment: str, arguments: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(creator).bind(**arguments)
    except TypeError as error:
        raise UsageError(f"environment: {brief(environment)}: {error}") from None
    return creator(**arguments)


def knows_splits(environment: str) -> bool:
    """Whether the class behind a Gymnasium id or `MODULE:CLASS` takes a `split`."""
    return _takes_split(creator_of(environment))


def _takes_split(creator: Any) -> bool:
    return creator is not None and "split" in inspect.signature(creator).parameters


def creator_of(environment: str) -> Any:
    """Return the class or function behind a Gymnasium id or `MODULE:CLASS`, None for an id that is
    not registered.

    Raises `UsageError` for a `module:id` whose module there is not.
    """
    module, colon, name = environment.rpartition(":")
    # As `gym.make` does, but before the id is looked up.
    imported = import_named(module, "environment") if colon else None
    if (spec := gym.registry.get(name)) is None:
        named = getattr(imported, name, None)
        return named if isinstance(named, type) and issubclass(named, ToolEnv) else None
    entry = spec.entry_point
    return load_env_creator(entry) if isinstance(entry, str) else entry


def _refuse_arguments(environment: str, creator: Any, arguments: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an id that is no `ToolEnv`'s, and for what its class does not take."""
    if creator is None:
        return
    if isinstance(creator, type) and not issubclass(creator, ToolEnv):
        raise UsageError(_NO_TOOL_ENV % brief(environment))
    refuse_unknown_arguments(environment, creator, arguments)
