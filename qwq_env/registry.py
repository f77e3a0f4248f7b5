"""From a Gymnasium id to the `ToolEnv` behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

import qwq_env
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError


def make_environment(environment: str, arguments: Mapping[str, Any] | None = None) -> ToolEnv:
    """Make the `ToolEnv` of a Gymnasium id, without wrappers.

    Raises `UsageError` for an id that is not registered, or that is no `ToolEnv`'s.
    """
    # The ids exist once the package has been imported.
    assert qwq_env.__version__
    try:
        # The checker wraps `step`, which the engine does not call.
        made = gym.make(environment, disable_env_checker=True, **(arguments or {})).unwrapped
    except gym.error.Error as error:
        raise UsageError(f"environment: {error}") from None
    if not isinstance(made, ToolEnv):
        raise UsageError(f"environment: {environment!r} is no ToolEnv; expected an id of qwq/...")
    return made
