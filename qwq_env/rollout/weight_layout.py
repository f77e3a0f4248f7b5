"""Weights laid out for few rows at a time, while a model samples on a CPU.

A step of decoding multiplies every weight with one row for each episode. Where the numbers of a
column lie side by side, MKL does so on several threads in 0.35 to 0.6 of the usual order's time, up
to 48 rows, and above in about as much; on one thread it hangs on the size. The prompts and the
training, with hundreds of rows, take as long in either order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def laid_out_for_decoding(model: Any) -> Iterator[None]:
    """Hold the linear layers' weights by columns where that is faster; afterwards as they were.

    The numbers and shapes are the same, so that whoever computes meanwhile computes the same. It
    takes the weights' memory once more. Weights must not change within.
    """
    was: list[tuple[nn.Parameter, Tensor]] = []
    if torch.get_num_threads() > 1:
        for module in model.modules():
            weight = module.weight if isinstance(module, nn.Linear) else None
            if weight is not None and _is_by_rows(weight):
                was.append((weight, weight.data))
                weight.data = weight.data.t().contiguous().t()
    try:
        yield
    finally:
        for weight, data in was:
            weight.data = data


def _is_by_rows(weight: Tensor) -> bool:
    usual = weight.is_contiguous() and not weight.t().is_contiguous()
    return usual and weight.device.type == "cpu" and weight.dtype == torch.float32
