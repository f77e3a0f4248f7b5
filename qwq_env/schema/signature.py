"""What a function's text says of it: type hints and docstring, read as a tool's schema.

`@tool` is made of this. Hints become JSON types (`hints`), the docstring's prose the description,
and what it says of the parameters their descriptions (`docstring`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from qwq_env.errors import BadArguments, UsageError, brief, describe_error
from qwq_env.schema.docstring import read_docstring
from qwq_env.schema.hints import Hints, Reader
from qwq_env.schema.resolve import local_names, resolved_hints

_REFUSALS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What a constructor raises for values that it does not take."""


class Signature(NamedTuple):
    """What a function's text says of it: `description`, and `parameters` as a JSON schema.

    `read` makes arguments that satisfy the schema into those that the function declares (an Enum's
    member, a dataclass, a tuple); None if JSON's own values will do. It raises `BadArguments`.
    """

    description: str
    parameters: dict[str, Any]
    read: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


def signature_of(function: Callable[..., Any]) -> Signature:
    """Derive the description and the parameter schema of `function`.

    Raises `UsageError` for what is no function, for a parameter that arguments by name cannot
    reach, for a type hint that is missing, cannot be resolved, or has no JSON form, and for a
    docstring that does not say what the function does.
    """
    if not inspect.isroutine(function):
        raise UsageError(f"tool: {brief(function)}; expected a function")
    where = f"tool {function.__name__}"
    told = read_docstring(inspect.getdoc(function) or "")
    types = resolved_hints(function, where, local_names(function))
    properties: dict[str, Any] = {}
    readers: dict[str, Reader] = {}
    required: list[str] = []
    hints = Hints(where)
    for name, parameter in _parameters_of(function).items():
        hints.where = f"{where}, parameter {name}"
        _check(parameter, types, hints.where)
        try:
            schema, read = hints.form(types[name])
        except RecursionError:
            raise UsageError(f"{hints.where}: the type is nested without end") from None
        if name in told.parameters:
            schema = {**schema, "description": told.parameters[name]}
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None:
            schema = {**schema, "default": hints.default(parameter.default)}
        properties[name] = schema
        if read is not None:
            readers[name] = read
    if not told.prose:
        advice = "say in its docstring what it does: that is all a model knows of it"
        raise UsageError(f"{where}: no description; {advice}")
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    parameters["additionalProperties"] = False
    if hints.definitions:
        parameters["$defs"] = hints.definitions
    return Signature(told.prose, parameters, _reader_of(readers) if readers else None)


def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:
        raise UsageError(f"tool {function.__name__}: its parameters are not known") from None


def _check(parameter: inspect.Parameter, types: Mapping[str, Any], where: str) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise UsageError(f"{where}: a variable number of arguments has no schema")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise UsageError(f"{where}: is positional-only, and arguments are passed by name")
    if parameter.name not in types:
        raise UsageError(f"{where}: no type hint, and the schema is made of them")


def _reader_of(readers: Mapping[str, Reader]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def read(arguments: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(arguments)
        for name in [name for name in values if name in readers]:
            try:
                values[name] = readers[name](values[name])
            except _REFUSALS as error:
                told = str(error) if type(error) is ValueError else describe_error(error)
                raise BadArguments(f"{name}: {told}") from None
        return values

    return read
