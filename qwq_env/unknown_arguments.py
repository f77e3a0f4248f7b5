"""Arguments of an environment that it does not take: the nearest that it does, in one line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from qwq_env.errors import UsageError, brief, did_you_mean

_BOUND: Final = re.compile(r"^(?:max|maximum|num|n)_|_(?:limit|max|per_episode)$")
_LIMITS: Final = {
    "turns": "turns", "steps": "turns", "episode_steps": "turns", "rounds": "turns",
    "tool_calls": "tool_calls", "calls": "tool_calls", "tools": "tool_calls",
    "tokens": "tokens", "length": "tokens", "completion_length": "tokens",
    "seconds": "seconds", "time": "seconds", "timeout": "seconds",
}  # fmt: skip
"""What other libraries call the bounds of an episode, and our names for them."""


class KnowsItsArguments:
    """Refuses what a class does not take, whoever makes it: `gym.make`, a subclass, a user.

    It is a base, and not a method of the environment, so that signatures are still read from
    `__init__`.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Raise `UsageError` for an argument that `cls.__init__` does not take."""
        refuse_unknown_arguments(cls.__name__, cls, named)
        return super().__new__(cls)


def refuse_unknown_arguments(
    what: str, creator: Callable[..., Any], arguments: Iterable[str]
) -> None:
    """Raise `UsageError` for an argument that `creator` does not take; `what` is its name."""
    known = inspect.signature(creator).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in arguments:
        if name not in known:
            hint = _bound(name, known) or did_you_mean(name, known)
            raise UsageError(
                f"argument of {what}: {brief(name)} is not known{hint}; known: {', '.join(known)}"
            )


def _bound(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that means a bound of the episode, or "" for another."""
    meant = _LIMITS.get(_BOUND.sub("", name)) if "limits" in known else None
    return "" if meant is None else f" (did you mean limits=EpisodeLimits({meant}=...)?)"
