"""What a function's text says of it: type hints and docstring, read as a tool's schema.

`@tool` is made of this. Hints become JSON types, the docstring's prose the description, and its
`Args:` section the descriptions of the parameters.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from qwq_env.errors import UsageError, brief


class Signature(NamedTuple):
    """What a function's text says of it: `description`, and `parameters` as a JSON schema."""

    description: str
    parameters: dict[str, Any]


_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


def signature_of(function: Callable[..., Any]) -> Signature:
    """Derive the description and the parameter schema of `function`.

    Raises `UsageError` for what is no function, for a parameter that arguments by name cannot
    reach, and for a type hint that is missing, cannot be resolved, or has no JSON form.
    """
    if not inspect.isroutine(function):
        raise UsageError(f"tool: {brief(function)}; expected a function")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    # A hint is an expression: what it names may not be there, and it may be none at all.
    except (AttributeError, NameError, SyntaxError, TypeError) as error:
        problem = f"a type hint cannot be resolved: {type(error).__name__}: {error}"
        raise UsageError(f"tool {function.__name__}: {problem}") from None
    summary, documented = _read_docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in _parameters_of(function).items():
        where = f"tool {function.__name__}, parameter {name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"{where}: a variable number of arguments has no schema")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(f"{where}: is positional-only, and arguments are passed by name")
        if name not in hints:
            raise UsageError(f"{where}: no type hint, and the schema is made of them")
        schema = _schema_of(hints[name], where)
        if name in documented:
            schema = {**schema, "description": documented[name]}
        if parameter.default is parameter.empty:
            required.append(name)
        elif parameter.default is not None:
            schema = {**schema, "default": _json_default(parameter.default, where)}
        properties[name] = schema
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    parameters["additionalProperties"] = False
    return Signature(summary, parameters)


def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:
        raise UsageError(f"tool {function.__name__}: its parameters are not known") from None


def _json_default(value: Any, where: str) -> Any:
    if not _has_json_form(value):
        raise UsageError(f"{where}: the default {brief(value)} has no JSON form")
    return value


def _has_json_form(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _schema_of(hint: Any, where: str) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    # Hints with arguments may hold what has no hash.
    if origin is None and hint in _SCALARS:
        return dict(_SCALARS[hint])
    if origin is typing.Annotated:
        return {**_schema_of(arguments[0], where), "description": str(arguments[1])}
    if origin is Literal:
        if not all(type(value) in (str, int, bool, type(None)) for value in arguments):
            raise UsageError(f"{where}: {brief(hint)} holds a value that has no JSON form")
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(argument, where) for argument in arguments]}
    if hint is list or origin is list:
        return {
            "type": "array",
            **({"items": _schema_of(arguments[0], where)} if arguments else {}),
        }
    if hint is dict or origin is dict:
        if arguments and arguments[0] is not str:
            raise UsageError(
                f"{where}: {brief(hint)}; expected dict[str, ...]: JSON's keys are text"
            )
        values = {"additionalProperties": _schema_of(arguments[1], where)} if arguments else {}
        return {"type": "object", **values}
    raise UsageError(
        f"{where}: the type {brief(hint)} has no JSON form; use str, Literal, list, ..."
    )


_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):\s*$")
_ARGUMENT = re.compile(r"^\s*(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into its prose and its documented arguments."""
    prose: list[str] = []
    documented: dict[str, str] = {}
    section, current = "", ""
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section, current = heading[1], ""
        elif not section:
            prose.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            indent = len(line) - len(line.lstrip())
            if (entry := _ARGUMENT.match(line)) and indent <= 4:
                current = entry[1]
                documented[current] = entry[2].strip()
            elif current and line.strip():
                documented[current] += " " + line.strip()
    return "\n".join(prose).strip(), documented
