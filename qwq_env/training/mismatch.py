"""How far sampler and trainer are apart in a live run, by the figures of `qwq check numerics`.

The check plays episodes of its own before a run; here the tokens are those that are learned from,
and what the trainer computes for its loss anyway is held against what the sampler said. A mean of
means is wrong where ranks or micro-batches hold different numbers of tokens, so sums are added up
and divided last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from qwq_env.evaluation.numerics import Divergence, Span, divergence_by_depth, span_name

ByDepth = Mapping[Span, Divergence]


def mismatch_of(
    batch: Mapping[str, Any],
    mask: torch.Tensor,
    logps: torch.Tensor,
    clip: tuple[float, float],
    rows: torch.Tensor | None = None,
) -> ByDepth:
    """Return how far the sampler of a batch is from the trainer on the tokens of `mask`.

    `mask` is (rows, completion); `logps` are the trainer's log-probabilities of those `rows` of the
    batch, of all where none are named. Tokens that the sampler gave no number are left out.
    """
    sampled, prompt = batch["sampling_per_token_logps"], batch["prompt_mask"].sum(1, keepdim=True)
    # Prompts are padded on their left and completions on their right.
    depths = prompt + torch.arange(mask.size(1), device=mask.device)
    if rows is not None:
        mask, sampled, depths = mask[rows], sampled[rows], depths[rows]
    known = mask & ~sampled.isnan()
    logs = logps[known].cpu().double() - sampled[known].cpu().double()
    return divergence_by_depth(depths[known].cpu().numpy(), logs.numpy(), clip=clip)


def merged(parts: Iterable[ByDepth]) -> ByDepth:
    """Return what all parts, those of the ranks for example, come to together."""
    found: dict[Span, Divergence] = {}
    for part in parts:
        for span, sums in part.items():
            found[span] = found.get(span, Divergence()).plus(sums)
    return found


def mismatch_metrics(by_depth: ByDepth) -> dict[str, float]:
    """Return the means over tokens, of all and by depth; nothing for no token."""
    total = Divergence()
    found: dict[str, float] = {}
    for span, sums in sorted(by_depth.items()):
        total = total.plus(sums)
        found[f"kl_k3/{span_name(span)}"] = sums.k3 / sums.tokens
        found[f"outside_clip/{span_name(span)}"] = sums.outside / sums.tokens
    if not total.tokens:
        return {}
    return {
        "kl_k1": total.k1 / total.tokens,
        "kl_k3": total.k3 / total.tokens,
        "outside_clip": total.outside / total.tokens,
        **found,
    }
