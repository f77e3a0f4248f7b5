"""How a section of a recipe declares a key."""

from __future__ import annotations

import dataclasses
from typing import Any


def key(
    default: Any,
    what: str,
    *,
    positive: bool = False,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare a key: its default, one line of what it is, and the bounds of a number."""
    metadata = {"what": what, "positive": positive, "least": least, "most": most}
    if isinstance(default, type | list | dict):
        factory = default if isinstance(default, type) else type(default)
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
