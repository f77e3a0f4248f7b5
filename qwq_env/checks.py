"""Checks of what an operator gives: numbers that bound things, and arguments that nobody takes.

A bound of the wrong kind (`None`, `"3"`, NaN) must be refused where it is given, in one line, and
not end an episode with a traceback where it is first compared. An argument that an environment does
not take is refused with the nearest that it does.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any, Final, Self, TypeGuard

from qwq_env.errors import UsageError, brief, did_you_mean

_BOUND: Final = re.compile(r"^(?:max|maximum|num|n)_|_(?:limit|max|per_episode)$")
_LIMITS: Final = {
    "turns": "turns", "steps": "turns", "episode_steps": "turns", "rounds": "turns",
    "tool_calls": "tool_calls", "calls": "tool_calls", "tools": "tool_calls",
    "tokens": "tokens", "length": "tokens", "completion_length": "tokens",
    "seconds": "seconds", "time": "seconds", "timeout": "seconds",
}  # fmt: skip
"""What other libraries call the bounds of an episode, and our names for them."""


def is_number(value: object) -> TypeGuard[float]:
    """Say whether `value` is a real number; NaN is one in name only, and True is none."""
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def check_positive(field: str, value: object, *, optional: bool = False) -> None:
    """Raise `UsageError` unless `value` is a number above 0, infinity included.

    `optional` allows None too, which stands for no bound.
    """
    if optional and value is None:
        return
    if not is_number(value) or not _above_zero(value):
        _refuse(field, value, "a number above 0", optional)


def check_whole(field: str, value: object, *, optional: bool = False) -> None:
    """Raise `UsageError` unless `value` is a whole number of 1 or more; `optional` as above."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or not _above_zero(value):
        _refuse(field, value, "a whole number above 0", optional)


def _above_zero(value: Any) -> bool:
    return bool(value > 0)


def _refuse(field: str, value: object, expected: str, optional: bool) -> None:
    raise UsageError(f"{field}: {brief(value)}; expected {expected}{', or None' * optional}")


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
    known = _known_arguments(creator)
    if known is None:
        return
    for name in arguments:
        if name not in known:
            hint = _bound_meant(name, known) or did_you_mean(name, known)
            raise UsageError(
                f"argument of {what}: {brief(name)} is not known{hint}; known: {', '.join(known)}"
            )


def _known_arguments(creator: Callable[..., Any]) -> list[str] | None:
    """Return the arguments that `creator` takes, None if it takes any.

    Those of `**options: Unpack[...]` are the keys of that TypedDict.
    """
    known = []
    for name, parameter in inspect.signature(creator).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            known.append(name)
        elif (options := _unpacked(creator, name)) is not None:
            known += options
        else:
            return None
    return known


def _unpacked(creator: Any, name: str) -> list[str] | None:
    """Return the keys of the TypedDict that `**name` is an unpacking of, None if it is none."""
    function = creator.__init__ if isinstance(creator, type) else creator  # type: ignore[misc]
    try:
        hint = typing.get_type_hints(function)[name]
    # What the hints name may not be there at run time; then nothing is known of them.
    except (AttributeError, KeyError, NameError, SyntaxError, TypeError):
        return None
    if typing.get_origin(hint) is not typing.Unpack:
        return None
    [options] = typing.get_args(hint)
    return list(options.__annotations__)


def _bound_meant(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that means a bound of the episode, or "" for another."""
    meant = _LIMITS.get(_BOUND.sub("", name)) if "limits" in known else None
    return "" if meant is None else f" (did you mean limits=EpisodeLimits({meant}=...)?)"
