"""Weights laid out for few rows at a time, while a model samples on a CPU.

A step of decoding multiplies every weight with one row for each episode. Where the numbers of a
column lie side by side, MKL does so on several threads in 0.35 to 0.6 of the usual order's time, up
to 48 rows, and above in about as much; on one thread it hangs on the size. A whole pass of 8 to 32
rows takes 0.6 to 0.67 (`qwq bench generation`). The prompts and the training, with hundreds of
rows, take as long in either order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

MOST_BYTES = 4 << 30
"""What is laid out anew: a second copy of more may be what the machine has not got."""


@contextmanager
def laid_out_for_decoding(model: Any) -> Iterator[None]:
    """Hold the linear layers' weights by columns where that is faster; afterwards as they were.

    The numbers and shapes are the same, so that whoever computes meanwhile computes the same. It
    takes the weights' memory once more, and leaves a model alone whose layers have more than
    `MOST_BYTES`. Weights must not change within.
    """
    layers = (module.weight for module in model.modules() if isinstance(module, nn.Linear))
    weights = {id(weight): weight for weight in layers if _is_by_rows(weight)}.values()
    small = sum(weight.nbytes for weight in weights) <= MOST_BYTES
    was: list[tuple[Tensor, Tensor]] = []
    try:
        if small and torch.get_num_threads() > 1:
            for weight in weights:
                was.append((weight, weight.data))
                weight.data = weight.data.t().contiguous().t()
        yield
    finally:
        for weight, data in was:
            weight.data = data


def _is_by_rows(weight: Tensor) -> bool:
    usual = weight.is_contiguous() and not weight.t().is_contiguous()
    return usual and weight.device.type == "cpu" and weight.dtype == torch.float32
