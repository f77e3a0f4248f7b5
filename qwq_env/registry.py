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
    """Make the `ToolEnv` of a Gymnasium id, without wrappers; on that `split` if its class knows
    splits.

    Raises `UsageError` for an id that is not registered, or that is no `ToolEnv`'s, and for an
    argument that its class does not take.
    """
    # The ids exist once the package has been imported.
    assert qwq_env.__version__
    try:
        creator = creator_of(environment)
        knows = creator is not None and "split" in inspect.signature(creator).parameters
        given = {**({"split": split} if split is not None and knows else {}), **(arguments or {})}
        _refuse_arguments(environment, creator, given)
        # The checker wraps `step`, which the engine does not call.
        made = gym.make(environment, disable_env_checker=True, **given).unwrapped
    except gym.error.UnregisteredEnv as error:
        # The ids of a module that nobody has imported are not there yet.
        hint = "" if ":" in environment else (
            "; if a module of yours registers it, name that in front: MODULE:"
            f"{brief(environment)[1:-1]}"
        )  # fmt: skip
        raise UsageError(f"environment: {error}{hint}") from None
    except ModuleNotFoundError as error:  # of a class that is named by its module
        raise UsageError(f"environment: {why_missing(environment, error)}") from None
    except gym.error.Error as error:
        raise UsageError(f"environment: {error}") from None
    if not isinstance(made, ToolEnv):
        raise UsageError(_NO_TOOL_ENV % brief(environment))
    return made


def creator_of(environment: str) -> Any:
    """Return the class or function behind a Gymnasium id, None for an id that is not registered.

    Raises `UsageError` for a `module:id` whose module there is not.
    """
    module, colon, name = environment.rpartition(":")
    if colon:
        # As `gym.make` does, but before the id is looked up.
        import_named(module, "environment")
    spec = gym.registry.get(name)
    entry = None if spec is None else spec.entry_point
    return load_env_creator(entry) if isinstance(entry, str) else entry


def _refuse_arguments(environment: str, creator: Any, arguments: Mapping[str, Any]) -> None:
    """Raise `UsageError` for an id that is no `ToolEnv`'s, and for what its class does not take."""
    if creator is None:
        return
    if isinstance(creator, type) and not issubclass(creator, ToolEnv):
        raise UsageError(_NO_TOOL_ENV % brief(environment))
    refuse_unknown_arguments(environment, creator, arguments)
