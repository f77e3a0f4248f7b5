"""Drawing tokens: the right distribution, and nothing else."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.chat_model import Sampling
from qwq_env.rollout.draw import draw

EDGES = (0.0, 1e-300, 0.5, math.nextafter(1.0, 0.0), 1.0)
"""1.0 is outside the contract; it stands for a sum in parallel that rounds to the whole."""


def samplings():
    return st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
        top_p=st.sampled_from([0.01, 0.5, 0.9, 1.0]),
        top_k=st.sampled_from([0, 1, 3, 1000]),
    )


def distribution(logits: list[float], sampling: Sampling) -> list[float]:
    """The distribution to draw from, in plain Python, for logits without ties."""
    best = max(logits)
    weights = [math.exp((score - best) / sampling.temperature) for score in logits]
    order = sorted(range(len(logits)), key=lambda token: -weights[token])
    order = order[: sampling.top_k or len(order)]
    total, kept, reached = sum(weights[token] for token in order), [], 0.0
    for token in order:
        if reached >= sampling.top_p * total:
            break
        kept.append(token)
        reached += weights[token]
    return [weights[token] / reached if token in kept else 0.0 for token in range(len(logits))]


@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.one_of(st.just(-math.inf), st.floats(-50, 50)), min_size=6, max_size=6),
            samplings(),
            st.sampled_from(EDGES),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_token_of_probability_zero_is_ever_drawn(rows):
    for logits, _, _ in rows:
        logits[2] = 0.0  # at least one token is possible
    result = draw(
        torch.tensor([row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows]
    )

    for (logits, _, _), token, logprob in zip(rows, result.ids, result.logprobs, strict=True):
        assert logits[token] > -math.inf
        assert -math.inf < logprob <= 1e-6


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(top_k=5),
        Sampling(top_p=0.8),
        Sampling(temperature=2.0, top_k=12, top_p=0.9),
    ],
)
def test_frequencies_and_logprobs_are_those_of_the_distribution(sampling):
    source, count = random.Random(0), 20_000
    logits = [source.gauss(0, 1.5) for _ in range(16)]
    expected = distribution(logits, sampling)

    result = draw(
        torch.tensor([logits] * count), [sampling] * count, [source.random() for _ in range(count)]
    )

    seen = [result.ids.count(token) for token in range(16)]
    assert all(share > 0 or times == 0 for share, times in zip(expected, seen, strict=True))
    chi_square = sum(
        (times - share * count) ** 2 / (share * count)
        for share, times in zip(expected, seen, strict=True)
        if share > 0
    )
    assert chi_square < 45  # one in ten thousand at 15 degrees of freedom
    for token, logprob in zip(result.ids[:50], result.logprobs, strict=False):
        assert logprob == pytest.approx(math.log(expected[token]), abs=1e-5)


def test_a_row_depends_on_itself_alone():
    kinds = [
        Sampling(),
        Sampling(temperature=0),
        Sampling(temperature=0.7),
        Sampling(top_k=4),
        Sampling(top_p=0.5),
    ]
    torch.manual_seed(0)
    logits, uniforms = torch.randn(5, 40), [0.1, 0.9, 0.3, 0.7, 0.5]

    together = draw(logits, kinds, uniforms)

    for row, (token, logprob) in enumerate(zip(*together, strict=True)):
        alone = draw(logits[row : row + 1], [kinds[row]], [uniforms[row]])
        assert (token, logprob) == (alone.ids[0], pytest.approx(alone.logprobs[0]))


def test_greedy_takes_the_best_token_with_the_models_own_logprob():
    logits = torch.tensor([[0.0, 2.0, 1.0]])

    result = draw(logits, [Sampling(temperature=0, top_k=1)], [0.99])

    assert result.ids == [1]
    assert result.logprobs == pytest.approx([logits.log_softmax(-1)[0, 1].item()])


def test_logits_that_are_not_numbers_give_a_logprob_that_is_none():
    for sampling in (Sampling(), Sampling(temperature=0), Sampling(top_k=2)):
        result = draw(torch.full((1, 5), math.nan), [sampling], [0.5])

        assert math.isnan(result.logprobs[0])
