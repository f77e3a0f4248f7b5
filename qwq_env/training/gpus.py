"""Kinds of GPUs and their memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qwq_env.errors import unknown

GPUS: Final[Mapping[str, float]] = {
    "A100": 80, "A100-40": 40, "B200": 180, "H100": 80, "H200": 141, "L4": 24, "L40S": 48,
    "RTX4090": 24,
}  # fmt: skip
"""Memory of a GPU in GB, as its maker states it."""

LARGEST: Final = max(GPUS, key=lambda kind: GPUS[kind])
"""What fits on so many of this kind fits on some; what does not, on none that is known."""


def gpu_kind(name: str, field: str) -> str:
    """Return a kind as the table spells it. Raises `UsageError`, which names `field`."""
    kinds = {kind.lower(): kind for kind in GPUS}
    if name.lower() not in kinds:
        raise unknown(field, name, GPUS)
    return kinds[name.lower()]
