"""What lies in a micro-batch: which rows, which columns of them, and where the loss looks; and how
many of them go through the model at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch

IGNORED: Final = -100
"""The label of a token that is not scored."""


def loss_mask(batch: dict[str, Any]) -> torch.Tensor:
    """Return where the loss looks: (rows, tokens), True on what the policy sampled."""
    mask: torch.Tensor = batch["completion_mask"].bool()
    return mask & batch["tool_mask"].bool() if "tool_mask" in batch else mask


@dataclass(frozen=True, slots=True)
class LeftAligned:
    """A micro-batch whose rows begin in its first column, as they did where they were sampled.

    Its padding is on the right alone, so it is as wide as its longest row, and a token stands at
    the position that it was sampled at: no rotation is rounded otherwise.
    """

    ids: torch.Tensor
    """(rows, width)."""
    mask: torch.Tensor
    """(rows, width), 1 on what is no padding."""
    asked: torch.Tensor
    """(rows, width), True on the tokens of completions."""
    kept: int
    """How many of the last columns hold all completions."""
    columns: torch.Tensor
    """(rows, completion): in which of those a token of the completion lies; -1 for padding."""

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Return what was computed of those columns, (rows, `kept`), as (rows, completion): each
        value where its token lay before, 0 for padding."""
        found = values.gather(1, self.columns.clamp(min=0))
        return found.masked_fill(self.columns < 0, 0)

    @contextmanager
    def scores_completions(self, model: torch.nn.Module) -> Iterator[None]:
        """Let `model` score no token of a prompt: TRL labels all that the kept columns hold."""

        def relabel(_model: Any, given: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return given, {**named, "labels": named["labels"].masked_fill(~self.asked, IGNORED)}

        hook = model.register_forward_pre_hook(relabel, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()


def left_aligned(
    ids: torch.Tensor, mask: torch.Tensor, completion: int, multiple: int = 1
) -> LeftAligned:
    """Return rows that attend by `mask`, (rows, prompt + completion), without what pads them all.

    Prompts are padded on their left, completions on their right. The width is a `multiple` as far
    as it was.
    """
    read = mask.bool()
    prompt = read.size(1) - completion
    longest = max(2, int(read.sum(1).max()))
    width = min(-(-longest // multiple) * multiple, read.size(1))
    order = (~read).long().argsort(dim=1, stable=True)[:, :width]
    # Nothing comes before the first column, from which it could be predicted.
    kept = min(max(1, width - int(read[:, :prompt].sum(1).min())), width - 1)
    columns = read.cumsum(1)[:, prompt:] - 1 - (width - kept)
    columns = columns.masked_fill(~read[:, prompt:], -1)
    attended = mask.gather(1, order)
    asked = attended.bool() & (order >= prompt)
    return LeftAligned(ids.gather(1, order), attended, asked, kept, columns)


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
    if not _has_rows(batches[0]):
        return list(batches)
    for start in range(0, len(batches), steps):
        together = batches[start : start + steps]
        lengths = [row_lengths(batch) * ~idle_rows(batch) for batch in together]
        order = torch.cat(lengths).argsort(descending=True, stable=True)
        sorted_batches += [
            {key: _rows_of([batch[key] for batch in together], rows) for key in together[0]}
            for rows in torch.split(order, size)
        ]
    return sorted_batches


def row_lengths(batch: dict[str, Any]) -> torch.Tensor:
    """Return how many tokens each row of a batch has, without padding: (rows,)."""
    lengths: torch.Tensor = batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)
    return lengths


def part_sizes(lengths: Sequence[int], most: int, multiple: int = 1) -> list[int]:
    """Return how many of the rows go through the model at a time, with their padding `most` tokens.

    `lengths` has those of the longest row first, and 0 for rows that the model needs not read. A
    part is as wide as its first row, in `multiple`s; it has one row, however long that is.
    """
    read, sizes = sum(length > 0 for length in lengths), list[int]()
    while (first := sum(sizes)) < read:
        width = -(-lengths[first] // multiple) * multiple
        sizes.append(min(max(1, most // width), read - first))
    *earlier, last = sizes or [0]
    return [*earlier, last + len(lengths) - read]


def split_rows(batch: dict[str, Any], order: torch.Tensor, sizes: Sequence[int]) -> list[Any]:
    """Return the parts of a batch that have so many of its rows each, taken in this order.

    What has other parts than one a row, as images have, stays whole.
    """
    if not _has_rows(batch):
        return [batch]
    return [
        {key: _rows_of([value], rows) for key, value in batch.items()}
        for rows in torch.split(order, list(sizes))
    ]


def _has_rows(batch: dict[str, Any]) -> bool:
    size = len(batch["completion_mask"])
    return all(len(value) == size for value in batch.values() if _by_row(value))


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
