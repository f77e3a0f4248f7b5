"""From `MODULE:THING` to the checks that it is held to: by what it is."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.dialect.base import Dialect
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.grading.reward.model import RewardModel
from qwq_env.imports import named
from qwq_env.registry import make_environment
from qwq_env.rubric import Component, FinalTurn, Rubric, by_reward_model
from qwq_env.task import load_jsonl, prompted_row
from qwq_env.testing.conformance import Conformance
from qwq_env.testing.dialect import DialectConformance
from qwq_env.testing.environment import EnvConformance
from qwq_env.testing.grader import GraderConformance
from qwq_env.testing.tool import ToolConformance
from qwq_env.tool import Tool
from qwq_env.tool_set import ToolSet

_ID: Final = re.compile(r"^[^:]*/[^:]*$|-v\d+$")
_EXPECTED: Final = (
    "an environment's id or class, a tool, a tool set's class, a list of them, a dialect, a rubric,"
    " a reward function, or a function that is annotated to return one"
)


class Found(NamedTuple):
    """What was found, in a word or two, and its checks."""

    kind: str
    checks: Conformance


def find(text: str, tasks: Path | None = None) -> Found:
    """Return what `MODULE:THING`, or an environment's id, names. `tasks` are a grader's; a
    tool is given the first of them.

    Raises `UsageError` for what cannot be found, and for what is nothing to check.
    """
    if _ID.search(text):
        make_environment(text).close()  # what cannot be made is told of once
        return Found("an environment", _made(EnvConformance, lambda: make_environment(text)))
    thing = named(text, "thing")
    kind, base, make = _what(text, thing)
    if isinstance(base, Conformance):
        return Found(kind, base)
    if tasks is None:
        return Found(kind, _made(base, make))
    if base is GraderConformance:
        known = list(load_jsonl(tasks))
        return Found(kind, _made(base, make, tasks=lambda self: known))
    if base is ToolConformance:
        first = load_jsonl(tasks, prompted_row).task(0)  # whose answer is no matter of a tool's
        return Found(kind, _made(base, make, task=lambda self: first))
    raise UsageError(f"tasks: {tasks}: {text} is {kind}, which takes none; tools and graders do")


def _made(base: type[Conformance], make: Callable[[], Any], **more: Any) -> Conformance:
    made = type(f"Of{base.__name__}", (base,), {"make": lambda self: make(), **more})
    checks: Conformance = made()
    return checks


_Kind = tuple[str, Any, Callable[[], Any]]


def _what(text: str, thing: Any) -> _Kind:
    if isinstance(thing, type):
        return _of_class(text, thing)
    if isinstance(thing, Conformance):
        return "checks of its own", thing, lambda: thing
    if isinstance(thing, ToolEnv):
        raise UsageError(
            f"thing: {text} is an environment that is made already; expected its class, or a"
            " function without arguments that makes one"
        )
    if (known := _of_instance(thing)) is not None:
        return known
    if inspect.isfunction(thing) or callable(thing):
        return _of_function(text, thing)
    raise UsageError(f"thing: {text} is {brief(thing)}; expected {_EXPECTED}")


def _of_class(text: str, thing: type) -> _Kind:
    if issubclass(thing, Conformance):
        return "checks of its own", thing(), thing
    if issubclass(thing, ToolSet):
        return "a tool set", ToolConformance, lambda: thing
    for base, kind, checks in _BASES:
        if issubclass(thing, base):
            return kind, checks, _maker(text, thing)
    raise UsageError(f"thing: {text} is a class {thing.__name__}; expected {_EXPECTED}")


_BASES: Final[Sequence[tuple[type, str, type[Conformance]]]] = (
    (ToolEnv, "an environment", EnvConformance),
    (Tool, "a tool", ToolConformance),
    (Dialect, "a dialect", DialectConformance),
    (Rubric, "a rubric", GraderConformance),
)


def _of_instance(thing: Any) -> _Kind | None:
    if isinstance(thing, functools.partial) and isinstance(thing.func, type):
        if issubclass(thing.func, ToolSet):
            return "a tool set", ToolConformance, lambda: thing
        return None
    if isinstance(thing, Tool):
        return "a tool", ToolConformance, lambda: thing
    if isinstance(thing, list | tuple) and thing:
        return "tools", ToolConformance, lambda: thing
    if isinstance(thing, Dialect):
        return "a dialect", DialectConformance, lambda: thing
    if isinstance(thing, Rubric | Component):
        return "a rubric", GraderConformance, lambda: thing
    if isinstance(thing, RewardModel):
        return "a reward model", GraderConformance, lambda: by_reward_model(thing)
    return None


def _of_function(text: str, thing: Callable[..., Any]) -> _Kind:
    """Say what a function is: a maker by what it returns, a grader by what it takes, or a tool."""
    function = thing if inspect.isroutine(thing) else type(thing).__call__
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        hints = {}
    if isinstance(given := hints.get("return"), type):
        for base, kind, checks in _BASES:
            if issubclass(given, base):
                return kind, checks, _maker(text, thing)
    parameters = [name for name in inspect.signature(thing).parameters if name != "self"]
    first = parameters[0] if parameters else ""
    if hints.get(first) is FinalTurn or parameters == ["final"]:
        return "a grader", GraderConformance, lambda: thing
    return "a tool", ToolConformance, lambda: thing


def _maker(text: str, thing: Callable[..., Any]) -> Callable[[], Any]:
    try:
        inspect.signature(thing).bind()
    except TypeError as error:
        raise UsageError(
            f"thing: {text}: {error}; expected one that is made without arguments, or a function"
            " that makes it, annotated with what it returns"
        ) from None
    return thing
