"""Scores of a group made comparable: how far each lies from the others, not where.

Why you would want this: the logits of a reward model mean something only as differences between
answers to one prompt. GRPO subtracts a group's mean and divides by its deviation by itself, so a
reward model that is the *only* component needs none of this; it is for adding or multiplying a
model's score with another reward, where the model's scale would else decide the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from qwq_env.errors import UsageError

Method = Literal["z", "rank"]


def normalize_group(values: Sequence[float | None], method: Method = "z") -> list[float | None]:
    """Return the values of one group on a common scale, (values,); None stays None.

    "z": (value - mean) / population deviation. "rank": places from -1 (lowest) to 1 (highest),
    evenly spaced, equal values sharing the mean of their places: no outlier can outweigh the
    rest. Undecided values (None) count for nothing. Where all are equal, or only one is decided,
    there is nothing to compare, and every decided value becomes 0.0, the group's mean.
    Raises `UsageError` for a value that is not finite and an unknown method.
    """
    if method not in ("z", "rank"):
        raise UsageError(f"method: {method!r}; expected 'z' or 'rank'")
    decided = [value for value in values if value is not None]
    if not all(map(math.isfinite, decided)):
        raise UsageError("values: one is not finite; expected finite numbers or None")
    scaled = iter(_z(decided) if method == "z" else _ranks(decided))
    return [None if value is None else next(scaled) for value in values]


def _z(values: Sequence[float]) -> list[float]:
    if not values or min(values) == max(values):
        return [0.0] * len(values)
    # Brought near 1 first: the squares of very large and very small numbers are none.
    largest = max(map(abs, values))
    near = [value / largest for value in values]
    mean = math.fsum(near) / len(near)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in near) / len(near))
    return [(value - mean) / deviation if deviation else 0.0 for value in near]


def _ranks(values: Sequence[float]) -> list[float]:
    if len(values) < 2:
        return [0.0] * len(values)
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    middle = {value: sum(shared) / len(shared) for value, shared in places.items()}
    return [2 * middle[value] / (len(values) - 1) - 1 for value in values]
