"""Draw tokens from logits, each row by its own rules and its own uniform number.

A row's token depends on its logits, its `Sampling` and its uniform number alone, never on the
other rows: so a request with a seed gives the same tokens in any batch, as far as the model's
arithmetic does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qwq_env.chat_model import Sampling


class Draw(NamedTuple):
    """One token a row: `ids` (rows,) and `logprobs` (rows,) in nats.

    A log-probability is that of the distribution drawn from (after temperature, top-k and
    top-p); of a greedy token, that of the model's own distribution. It is NaN where the logits
    are not numbers.
    """

    ids: list[int]
    logprobs: list[float]


def draw(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Draw:
    """Draw one token for each row of `logits` (rows, vocabulary), any floating type.

    `uniforms` (rows,) are from 0 (included) to 1 (excluded). Temperature comes first, then
    top-k, then top-p over what top-k left: the smallest set of tokens whose probabilities reach
    `top_p`. A token of probability zero is never drawn.
    """
    kinds = [_kind(sampling) for sampling in samplings]
    first = kinds[0]
    if all(kind is first for kind in kinds):
        return first(logits, samplings, uniforms)
    ids, logprobs = [0] * len(kinds), [0.0] * len(kinds)
    for kind in (_greedy, _plain, _filtered):
        rows = [row for row, its in enumerate(kinds) if its is kind]
        if not rows:
            continue
        part = kind(
            logits[torch.tensor(rows, device=logits.device)],
            [samplings[row] for row in rows],
            [uniforms[row] for row in rows],
        )
        for row, token, logprob in zip(rows, part.ids, part.logprobs, strict=True):
            ids[row], logprobs[row] = token, logprob
    return Draw(ids, logprobs)


def _kind(sampling: Sampling) -> Callable[[Tensor, Sequence[Sampling], Sequence[float]], Draw]:
    if sampling.temperature == 0:
        return _greedy
    return _plain if sampling.top_k == 0 and sampling.top_p == 1 else _filtered


def _greedy(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Draw:
    logprobs, ids = logits.float().log_softmax(-1).max(-1)
    return Draw(ids.tolist(), logprobs.tolist())


def _plain(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Draw:
    logprobs = _tempered(logits, samplings).log_softmax(-1)
    ids = _pick(logprobs.exp(), uniforms)
    return Draw(ids[:, 0].tolist(), logprobs.gather(-1, ids)[:, 0].tolist())


def _filtered(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Draw:
    size = logits.shape[-1]
    scores, tokens = _tempered(logits, samplings).sort(dim=-1, descending=True, stable=True)
    limits = [sampling.top_k or size for sampling in samplings]
    ranks = torch.arange(size, device=logits.device)
    dropped = ranks >= torch.tensor(limits, device=logits.device)[:, None]
    probs = scores.masked_fill(dropped, -torch.inf).softmax(-1)
    # Rounding must not cut the tail of a row that asked for all of it.
    shares = [sampling.top_p if sampling.top_p < 1 else torch.inf for sampling in samplings]
    before = probs.cumsum(-1, dtype=torch.float64) - probs
    kept = before < torch.tensor(shares, dtype=torch.float64, device=logits.device)[:, None]
    probs = torch.where(kept, probs, 0.0)
    probs = probs / probs.sum(-1, keepdim=True)
    picks = _pick(probs, uniforms)
    logprobs = probs.gather(-1, picks).log()
    return Draw(tokens.gather(-1, picks)[:, 0].tolist(), logprobs[:, 0].tolist())


def _tempered(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    scores = logits.float()
    if all(sampling.temperature == 1 for sampling in samplings):
        return scores
    temperatures = [sampling.temperature for sampling in samplings]
    return scores / torch.tensor(temperatures, device=logits.device)[:, None]


def _pick(probs: Tensor, uniforms: Sequence[float]) -> Tensor:
    """Return (rows, 1): the first token whose cumulative probability exceeds the uniform."""
    cumulative = probs.cumsum(-1, dtype=torch.float64)
    uniform = torch.tensor(uniforms, dtype=torch.float64, device=probs.device)[:, None]
    picks = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    picks = picks.clamp(max=probs.shape[-1] - 1)
    drawn = probs.gather(-1, picks)
    if bool((drawn > 0).all()):
        return picks
    # Rounding at the very end of a row, and a parallel sum that is not monotone, can both land
    # on a token of probability zero.
    return torch.where(drawn > 0, picks, probs.argmax(-1, keepdim=True))
