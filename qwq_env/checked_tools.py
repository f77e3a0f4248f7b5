"""What an environment was given as its tools, found sound: once, and not for each episode."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.schema.validator import check_parameters
from qwq_env.tool import REPLAYS, Tool, checked_name, tool
from qwq_env.tool_set import SetMaker, ToolSet, maker_of

ToolLike = Tool | Callable[..., Any] | type[ToolSet]
"""A `Tool`, a function (taken as by `@tool`), or a `ToolSet`'s class or a partial of it."""


class CheckedTools(tuple[Tool, ...]):
    """Sound tools, those of tool sets among them; `sets` make the latter's state.

    A tool that is no method of a set stands in `single`.
    """

    single: tuple[Tool, ...]
    sets: tuple[SetMaker, ...]


def checked_tools(tools: object) -> CheckedTools:
    """Return the tools of an environment or a toolbox, in the order given.

    Raises `UsageError` for what is none, for two of one name, and for a name, a description or
    parameters that could not be shown to a model.
    """
    if isinstance(tools, CheckedTools):
        return tools
    if not isinstance(tools, list | tuple):
        one = isinstance(tools, Tool | type) or callable(tools)
        how = (
            f", such as [{getattr(tools, '__name__', getattr(tools, 'name', 'tool'))}]"
            if one
            else ""
        )
        raise UsageError(f"tools: {brief(tools)}; expected a list of Tools{how}")
    found: list[Tool] = []
    single: list[Tool] = []
    sets: list[SetMaker] = []
    for given in tools:
        if (maker := maker_of(given)) is not None:
            sets.append(maker)
            found += maker.tools.values()
        else:
            single.append(_tool_of(given))
            found.append(single[-1])
    for each in found:
        _check(each)
    _check_names(found, sets)
    checked = CheckedTools(found)
    checked.single, checked.sets = tuple(single), tuple(sets)
    return checked


def _tool_of(given: object) -> Tool:
    if isinstance(given, Tool):
        return given
    if inspect.isfunction(given) or inspect.ismethod(given):
        return tool(given)
    expected = "a Tool: an instance, a function, or a ToolSet's class"
    raise UsageError(f"tools: {brief(given)}; expected {expected}")


def _check(tool: Tool) -> None:
    where = type(tool).__name__
    try:
        checked_name(getattr(tool, "name", None))
        where = tool.name
        description = getattr(tool, "description", None)
        if not isinstance(description, str) or not description.strip():
            expected = "a text that tells the model what the tool does"
            raise UsageError(f"description: {brief(description)}; expected {expected}")
        check_parameters(getattr(tool, "parameters", None))
        if (replay := getattr(tool, "replay", None)) not in (None, *REPLAYS):
            raise unknown("replay", replay, REPLAYS)
    except UsageError as error:
        raise UsageError(f"tool {where}: {error}") from None


def _check_names(tools: Sequence[Tool], sets: Sequence[SetMaker]) -> None:
    owners = {
        id(each): f" a method of {maker.name}" for maker in sets for each in maker.tools.values()
    }
    first: dict[str, Tool] = {}
    for each in tools:
        if (other := first.get(each.name)) is not None:
            both = " and".join(owners.get(id(one), " a tool of its own") for one in (other, each))
            raise UsageError(
                f"tools: two of them share a name: {each.name}, that is{both}; rename the method,"
                ' or the function with @tool(name="...")'
            )
        first[each.name] = each
    names = [maker.name for maker in sets]
    if len(set(names)) != len(names):
        raise UsageError(f"tools: two tool sets share a name: {', '.join(sorted(names))}")
