"""Python's values as JSON: the members of a closed set, and the defaults of parameters."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Mapping
from typing import Any


def is_plain_value(value: Any) -> bool:
    """Say whether a value is one of JSON's that have no parts."""
    return (
        value is None
        or isinstance(value, str | int)
        or (isinstance(value, float) and value - value == 0)
    )


def as_plain(value: Any) -> Any:
    """Return the value of an Enum that is a text or a number itself as one and no more."""
    kinds = (kind for kind in (bool, int, float, str) if isinstance(value, kind))
    return value if value is None else next(kinds)(value)


def same(one: Any, other: Any) -> bool:
    """Say whether two plain values are one in JSON: 1 is 1.0, and not true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def plain_default(value: Any) -> Any:
    """Return a default in JSON's types, so far as it has one; what has none is left as it is."""
    if isinstance(value, enum.Enum):
        return plain_default(value.value)
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain_default(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: plain_default(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {plain_default(name): plain_default(inner) for name, inner in value.items()}
    if isinstance(value, set | frozenset):
        # The schema must be the same in every process.
        return sorted(map(plain_default, value), key=repr)
    if isinstance(value, list | tuple | deque):
        return [plain_default(inner) for inner in value]
    return value
