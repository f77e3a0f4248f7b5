"""Type hints as they stand in a program: postponed, behind aliases, with type variables."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, Union, get_args, get_origin

from qwq_env.errors import UsageError

_SEEN_THROUGH: Final = frozenset({"Final", "Required", "NotRequired", "ReadOnly"})


def resolved_hints(owner: Any, where: str, local: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hints of a function or class, `Annotated` and all.

    Raises `UsageError` for one that cannot be resolved.
    """
    try:
        return typing.get_type_hints(owner, localns=dict(local), include_extras=True)
    # A hint is an expression: what it names may not be there, and it may be none at all.
    except (AttributeError, NameError, SyntaxError, TypeError) as error:
        problem = f"a type hint cannot be resolved: {type(error).__name__}: {error}"
        raise UsageError(f"{where}: {problem}") from None


def local_names(owner: Any) -> dict[str, Any]:
    """Return what the function around `owner` knows, while it runs: postponed hints may name it."""
    around = getattr(owner, "__qualname__", "").rpartition(".<locals>.")[0]
    frame = sys._getframe() if around else None
    while frame is not None:
        if (
            frame.f_code.co_qualname == around
            and frame.f_globals.get("__name__") == owner.__module__
        ):
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def seen_through(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what stands behind an alias, a NewType, a type variable or a mark; None for others."""
    if isinstance(hint, TypeVar):
        options: Any = hint.__constraints__
        return hint.__bound__ or (Union[options] if options else Any)  # noqa: UP007 - of a tuple
    if hasattr(hint, "__supertype__"):
        return hint.__supertype__
    alias = hint if origin is None else origin
    if hasattr(alias, "__value__") and hasattr(alias, "__type_params__"):
        return substituted(
            alias.__value__, dict(zip(alias.__type_params__, arguments, strict=False))
        )
    if name_of(alias) in _SEEN_THROUGH:
        return arguments[0] if arguments else Any
    return None


def name_of(mark: Any) -> str:
    """Return the name of a special form of typing, or of typing_extensions."""
    return str(getattr(mark, "_name", "") or "") if not isinstance(mark, type) else ""


def marks_of(hint: Any) -> Iterator[Any]:
    """Yield the special forms that stand around a hint."""
    while (origin := get_origin(hint)) is typing.Annotated or name_of(origin) in _SEEN_THROUGH:
        yield origin
        hint = get_args(hint)[0]


def variables_of(kind: Any, arguments: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield what the type variables of a class and of its bases stand for."""
    known = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    for base in getattr(kind, "__orig_bases__", ()):
        if isinstance(origin := get_origin(base), type):
            inner = tuple(substituted(argument, known) for argument in get_args(base))
            yield from variables_of(origin, inner)
    yield from known.items()


def substituted(hint: Any, variables: Mapping[Any, Any]) -> Any:
    """Return `hint` with what its type variables stand for, so far as that is known."""
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    # A generic class without arguments has parameters too, and is left as it is.
    if not parameters or isinstance(hint, type) or not variables.keys() & set(parameters):
        return hint
    return hint[tuple(variables.get(parameter, parameter) for parameter in parameters)]
