"""Dialects: how a model writes its calls and reads their results."""

from __future__ import annotations

import importlib

from qwq_env.dialect.base import Dialect as Dialect
from qwq_env.dialect.base import Piece as Piece
from qwq_env.errors import UsageError, unknown

_DIALECTS = {
    "qwq": "qwq_env.dialect.qwq:QwqDialect",
}


def make_dialect(dialect: str | Dialect) -> Dialect:
    """Return the dialect of that name; a `Dialect` is returned as it is.

    Raises `UsageError` for a name that is not registered.
    """
    if isinstance(dialect, Dialect):
        return dialect
    if dialect not in _DIALECTS:
        raise unknown("dialect", dialect, _DIALECTS)
    module, _, name = _DIALECTS[dialect].partition(":")
    made = getattr(importlib.import_module(module), name)()
    assert isinstance(made, Dialect)
    return made


def register_dialect(name: str, entry_point: str) -> None:
    """Make `entry_point` (`"module:Class"`, no arguments) known as `name`.

    Raises `UsageError` if the name is taken.
    """
    if name in _DIALECTS:
        raise UsageError(f"dialect: {name!r} is registered already")
    _DIALECTS[name] = entry_point


def dialect_names() -> list[str]:
    """Return every registered name."""
    return sorted(_DIALECTS)
