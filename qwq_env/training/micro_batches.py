"""What lies in a micro-batch: which rows, which columns of them, and where the loss looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch


def loss_mask(batch: dict[str, Any]) -> torch.Tensor:
    """Return where the loss looks: (rows, tokens), True on what the policy sampled."""
    mask: torch.Tensor = batch["completion_mask"].bool()
    return mask & batch["tool_mask"].bool() if "tool_mask" in batch else mask


class Cut(NamedTuple):
    """Columns that are cut off a micro-batch on either side."""

    left: int
    right: int


def trimmed(mask: torch.Tensor, completion: int, multiple: int = 1) -> Cut:
    """Return what can be cut off rows that attend by `mask` (rows, prompt + completion).

    Prompts are padded on their left, completions on their right; of each a column stays, and what
    stays is a `multiple` as far as it was.
    """
    used = mask.bool().any(0)
    prompt = len(used) - completion
    left = _leading(~used[:prompt]) if prompt else 0
    right = _leading(~used[prompt:].flip(0))
    left, right = min(left, max(prompt - 1, 0)), min(right, completion - 1)
    return Cut(left - left % multiple, right - right % multiple)


def _leading(flags: torch.Tensor) -> int:
    """Return how many flags are set before the first that is not."""
    return int(flags.long().cumprod(0).sum())


def by_length(
    batches: Sequence[dict[str, Any]],
    steps: int,
    idle_rows: Callable[[dict[str, Any]], torch.Tensor],
) -> list[dict[str, Any]]:
    """Return micro-batches with the rows of each `steps` of them sorted by how long they are.

    The longest come first, idle ones last. What has other parts than one a row, as images have,
    stays as it is.
    """
    size, sorted_batches = len(batches[0]["completion_mask"]), []
    parts = [value for value in batches[0].values() if _by_row(value)]
    if any(len(value) != size for value in parts):
        return list(batches)
    for start in range(0, len(batches), steps):
        together = batches[start : start + steps]
        lengths = [
            (batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)) * ~idle_rows(batch)
            for batch in together
        ]
        order = torch.cat(lengths).argsort(descending=True, stable=True)
        sorted_batches += [
            {key: _rows_of([batch[key] for batch in together], rows) for key in together[0]}
            for rows in torch.split(order, size)
        ]
    return sorted_batches


def _by_row(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, torch.Tensor) and value.dim() > 0)


def _rows_of(values: Sequence[Any], rows: torch.Tensor) -> Any:
    """Return the rows of what lies in several micro-batches."""
    if not _by_row(values[0]):
        return values[0]
    if isinstance(values[0], list):
        joined = [each for value in values for each in value]
        return [joined[row] for row in rows.tolist()]
    return torch.cat(list(values))[rows]
