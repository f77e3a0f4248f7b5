"""Whether sampler and trainer compute the same: log-probabilities of the very same tokens.

A trainer weighs a token by what it thinks of it now over what the sampler thought of it when it
drew it. Where the two compute differently, that ratio is wrong before anything was learned, and in
a long episode the errors multiply. A wrong temperature, a position off by one, a cache of old
weights all look alike in a reward curve, and at once in this table:

1. `play` samples episodes of many turns, with forced observations between them, so that every depth
   of the context is reached whatever the model writes;
2. `full_pass` computes the same tokens as `ToolGRPOTrainer` does: one plain forward pass over the
   whole episode, logits over the temperature, log-softmax over the full vocabulary;
3. `figures_by_depth` compares; `Report.faults` holds it against a bound.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from qwq_env import portal
from qwq_env.chat_model import Sampling
from qwq_env.checks import check_whole
from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.play import TurnEnds
from qwq_env.rollout.policy import GenerationRequest, Policy
from qwq_env.rollout.rows import Row
from qwq_env.task import Task
from qwq_env.trajectory import TrainingRow
from qwq_env.turn import CallResult

_JUDGED_TOKENS: Final = 50
"""Of fewer, a mean says too little; the total is judged whatever it has."""
_LOGITS_AT_A_TIME: Final = 1 << 28
DEPTH: Final = 1024
"""Tokens of a depth, unless another number is asked for."""
CLIP: Final = (0.8, 1.2)
"""The ratios that TRL's loss leaves alone by default."""

Span = tuple[int, int]
"""A depth: from so many tokens before a token to below so many."""


class Bound(NamedTuple):
    """The most that a mean difference and a KL divergence (k3) may be, in nats a token."""

    mean: float
    k3: float


BOUNDS: Final[Mapping[str, Bound]] = {
    "float32": Bound(2e-4, 1e-6),
    "bfloat16": Bound(3e-2, 1e-3),
}
"""By the coarser of the two precisions.

float32: kernels of one model that sum in another order differ by 1e-6 to 1e-5 a token, half
precision anywhere by 1e-3; the bound lies between. bfloat16: sound pairs of a bf16 server and a
bf16 trainer are reported with a KL of some 2e-4 for dense models, and differ by 0.01 to 0.02 a
token; the bound is five times that KL. At it, the weight of a whole episode has an effective sample
share of 1/e after 500 tokens (exp(-2 n KL)).
"""


class Compared(NamedTuple):
    """The sampled tokens of a row, each list (sampled,): how many tokens stood before each, and its
    log-probability for the sampler and for the trainer."""

    depths: Sequence[int]
    sampler: Sequence[float]
    trainer: Sequence[float]


class Divergence(NamedTuple):
    """Sums over `tokens`, which those of others can be added to: of what `Figures` calls `k1` and
    `k3`, and the tokens that lie `outside` the clip range.
    """

    tokens: int = 0
    k1: float = 0.0
    k3: float = 0.0
    outside: int = 0

    @classmethod
    def of(cls, log: NDArray[np.float64], clip: tuple[float, float]) -> Divergence:
        """Return that of tokens with these log r: (tokens,)."""
        ratio = np.exp(np.clip(log, -700, 700))
        outside = (ratio < clip[0]) | (ratio > clip[1])
        return cls(len(log), float(-log.sum()), float((ratio - 1 - log).sum()), int(outside.sum()))

    def plus(self, other: Divergence) -> Divergence:
        """Return that of the tokens of both."""
        return Divergence(
            self.tokens + other.tokens,
            self.k1 + other.k1,
            self.k3 + other.k3,
            self.outside + other.outside,
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """Differences over the `tokens` sampled at depths from `begin` below `end`.

    `mean` and `maximum` are of the absolute difference in nats. `k1` and `k3` estimate the
    divergence of the trainer from the sampler: the mean of -log r, and of r - 1 - log r, with r the
    trainer's probability over the sampler's (Schulman 2020, "Approximating KL divergence").
    `outside` is the share of tokens whose r lies outside the clip range. `effective` is the
    effective sample size over the number of tokens, each weighed by its r;
    `episodes_effective` that of the episodes, each weighed by the product of its r up to `end`.
    """

    begin: int
    end: int
    tokens: int
    mean: float
    maximum: float
    k1: float
    k3: float
    outside: float
    effective: float
    episodes_effective: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found: figures by depth and over all, and the bound they are held against."""

    sampler: str
    dtype: str
    temperature: float
    episodes: int
    bound: Bound
    depths: tuple[Figures, ...]
    total: Figures

    @property
    def faults(self) -> list[str]:
        """What lies above the bound, in words; empty if sampler and trainer agree."""
        judged = [each for each in self.depths if each.tokens >= _JUDGED_TOKENS]
        return [
            f"{name} {value:.2g} at depth {span_name((each.begin, each.end))}, above {most:g}"
            for each in (*judged, self.total)
            for name, value, most in (
                ("mean difference", each.mean, self.bound.mean),
                ("KL", each.k3, self.bound.k3),
            )
            if not value <= most  # what is not a number is above it, too
        ]


def check_numerics(
    policy: Policy,
    model: Any,
    env: ToolEnv,
    codec: TokenCodec,
    *,
    context: int,
    sampler: str = "",
    episodes: int = 8,
    temperature: float = 1.0,
    width: int = DEPTH,
    clip: tuple[float, float] = CLIP,
    seed: int = 0,
) -> Report:
    """Sample `episodes` with `policy` until each fills `context` tokens, and compare with `model`.

    `width` is that of a depth in tokens, `clip` the range of ratios that the trainer leaves
    alone. Raises `UsageError` for a bad number, `InfrastructureError` if nothing was sampled.
    """
    for name, number in (("context", context), ("episodes", episodes), ("width", width)):
        check_whole(name, number)
    if not temperature > 0:
        raise UsageError(f"temperature: {temperature}; expected more than 0, as in training")
    sampling = Sampling(temperature)
    rows = portal.run(play(policy, env, codec, sampling, context, episodes=episodes, seed=seed))
    compared = [
        Compared(
            sampled_at(row), _sampled(row.logprobs, row.mask), full_pass(model, row, temperature)
        )
        for row in rows
    ]
    if not any(each.depths for each in compared):
        raise InfrastructureError(f"numerics: nothing was sampled within {context} tokens")
    dtype = str(model.dtype).removeprefix("torch.")
    *depths, total = figures_by_depth(compared, width=width, clip=clip)
    bound = BOUNDS.get(dtype, BOUNDS["bfloat16"])
    return Report(sampler, dtype, temperature, len(rows), bound, tuple(depths), total)


async def play(
    policy: Policy,
    env: ToolEnv,
    codec: TokenCodec,
    sampling: Sampling,
    context: int,
    *,
    episodes: int,
    turn: int = 64,
    observed: int = 192,
    seed: int = 0,
) -> list[TrainingRow]:
    """Return episodes whose turns the policy samples, of `turn` tokens at most, and whose
    observations are forced: `observed` tokens or a few more of other tasks, as a tool's result.

    They end when `context` is full, whatever the model writes.
    """
    tasks = list(itertools.islice(env.tasks, 4 * episodes))
    playing = [
        asyncio.ensure_future(
            _play_one(policy, env, codec, sampling, context, tasks[i % len(tasks) :] + tasks, i,
                      turn, observed, seed)
        )
        for i in range(episodes)
    ]  # fmt: skip
    try:
        return await asyncio.gather(*playing)
    finally:
        for each in playing:
            each.cancel()
        await asyncio.wait(playing)
        await policy.aclose()


async def _play_one(
    policy: Policy, env: ToolEnv, codec: TokenCodec, sampling: Sampling, context: int,
    tasks: Sequence[Task], number: int, turn: int, observed: int, seed: int,
) -> TrainingRow:  # fmt: skip
    dialect, name = env.settings.dialect, f"numerics.{number}"
    ends = TurnEnds.of(dialect, codec)
    row = Row.begin(codec.encode_pieces(env.begin(tasks[0], seed=seed).open()))
    texts = itertools.cycle(str(task.conversation(None)[-1]["content"]) for task in tasks)
    for index in itertools.count():
        left = context - len(row.ids)
        if left < 1:
            break
        request = GenerationRequest(
            list(row.ids), min(turn, left), name, sampling, ends.ids, ends.strings,
            seed=(seed * 1_000_003 + number) * 1_000_003 + index,
        )  # fmt: skip
        generation = await policy.generate(request)
        if not generation.ids:
            break  # the policy takes no more
        row.add_sampled(generation.ids, generation.logprobs, 0)
        closed = dialect.parse(codec.decode(generation.ids)).closed
        result = CallResult("tool", _text(codec, texts, observed))
        pieces = codec.encode_pieces(dialect.render_results([result], closed=closed))
        # Cut where it would fill the context: the last tokens of it are to be sampled, too.
        row.add_observed(pieces[: max(0, context - len(row.ids) - turn)])
    await policy.release(name)
    return row.frozen()


def _text(codec: TokenCodec, texts: Iterator[str], tokens: int) -> str:
    text = next(texts)
    while len(codec.encode(text)) < tokens:
        text += "\n" + next(texts)
    return text


def sampled_at(row: TrainingRow) -> list[int]:
    """Return the places in `row.ids` of the tokens that were sampled."""
    return [row.prompt_length + i for i, bit in enumerate(row.mask) if bit]


def _sampled(values: Sequence[float], mask: Sequence[int]) -> list[float]:
    return [value for value, bit in zip(values, mask, strict=True) if bit]


@torch.no_grad()
def full_pass(model: Any, row: TrainingRow, temperature: float) -> list[float]:
    """Return the log-probabilities (sampled,) of a row's sampled tokens, as a trainer has them.

    No cache, no padding. The logits of as many tokens as fit into a few gigabytes are computed
    at a time; for the others the pass is made again.
    """
    ids = torch.tensor([row.ids], device=model.device)
    places = sampled_at(row)
    at_a_time = max(1, _LOGITS_AT_A_TIME // model.config.get_text_config().vocab_size)
    found: list[float] = []
    for first in range(0, len(places), at_a_time):
        part = torch.tensor(places[first : first + at_a_time], device=ids.device)
        logits = _logits_at(model, ids, part - 1).float() / temperature
        found += torch.log_softmax(logits, -1).gather(1, ids[0, part, None])[:, 0].tolist()
    return found


def _logits_at(model: Any, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the logits (places, vocabulary) of one forward pass over all `ids` (1, tokens)."""
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        kept: torch.Tensor = model(ids, use_cache=False, logits_to_keep=places).logits[0]
        return kept
    every: torch.Tensor = model(ids, use_cache=False).logits[0]
    return every[places]


def figures_by_depth(
    rows: Sequence[Compared], *, width: int = DEPTH, clip: tuple[float, float] = CLIP
) -> list[Figures]:
    """Return figures of each depth of `width` tokens that any token lies in, and of all tokens."""
    depths = np.concatenate([np.asarray(row.depths, dtype=np.int64) for row in rows])
    logs = [np.subtract(row.trainer, row.sampler, dtype=np.float64) for row in rows]
    every = np.concatenate(logs)
    episodes = [(np.asarray(row.depths), log) for row, log in zip(rows, logs, strict=True)]
    found = []
    for begin, end in (*_spans(depths, width), (0, int(depths.max()) + 1)):
        log = every[(depths >= begin) & (depths < end)]
        sums = Divergence.of(log, clip)
        products = np.array([log[own < end].sum() for own, log in episodes if (own < end).any()])
        found.append(
            Figures(
                begin=begin,
                end=end,
                tokens=sums.tokens,
                mean=float(np.abs(log).mean()),
                maximum=float(np.abs(log).max()),
                k1=sums.k1 / sums.tokens,
                k3=sums.k3 / sums.tokens,
                outside=sums.outside / sums.tokens,
                effective=_effective(log),
                episodes_effective=_effective(products),
            )
        )
    return found


def divergence_by_depth(
    depths: NDArray[np.int64],
    log: NDArray[np.float64],
    *,
    width: int = DEPTH,
    clip: tuple[float, float] = CLIP,
) -> dict[Span, Divergence]:
    """Return the sums of each depth that any token lies in: `depths` and log r, (tokens,) each."""
    return {
        (begin, end): Divergence.of(log[(depths >= begin) & (depths < end)], clip)
        for begin, end in _spans(depths, width)
    }


def span_name(span: Span) -> str:
    """Return what a depth is called."""
    return f"{span[0]}-{span[1]}"


def _spans(depths: NDArray[np.int64], width: int) -> list[Span]:
    return [(n * width, (n + 1) * width) for n in np.unique(depths // width).tolist()]


def _effective(logs: NDArray[np.float64]) -> float:
    """Return the effective sample size of weights, given their logarithms, over their number."""
    weights = np.exp(logs - logs.max())
    return float(weights.sum() ** 2 / (len(logs) * (weights**2).sum()))
