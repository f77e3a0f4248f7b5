"""Attention for generation in models whose query heads share key heads.

Before it attends, `transformers` repeats every cached key and value once for each query head of
its group (seven times for a 7B Qwen2), for every token sampled. Here the query heads of a group
are treated as so many queries of one head instead, so that the cache is read as it lies. The
numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "qwq_grouped"

MOST_QUERIES = 64
"""With more queries a row, the mask repeated for each head outweighs the keys repeated."""


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend as `sdpa` does; the signature is that of a `transformers` attention function.

    `query` (rows, heads, queries, size), `key` and `value` (rows, kv heads, read, size), and a
    mask (rows, 1, queries, read). Returns (rows, queries, heads, size).
    """
    rows, heads, queries, size = query.shape
    shared = heads // key.shape[1]
    if (
        attention_mask is None
        or attention_mask.shape[1] != 1
        or shared == 1
        or queries > MOST_QUERIES
        or options.get("position_bias") is not None
    ):
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return result
    output = scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], shared * queries, size),
        key,
        value,
        attn_mask=attention_mask if queries == 1 else attention_mask.repeat(1, 1, shared, 1),
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
    )
    output = output.reshape(rows, heads, queries, value.shape[-1])
    return output.transpose(1, 2).contiguous(), None


@contextmanager
def attending_in_groups(model: Any) -> Iterator[None]:
    """Let `model` use `grouped_attention` where it would use `sdpa`; afterwards it is as before."""
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa" or not model._supports_attention_backend:
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
