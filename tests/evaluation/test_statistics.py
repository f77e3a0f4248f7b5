"""Errors, pass@k, votes and differences: exact values by hand, intervals by simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from qwq_env.evaluation.statistics import (
    Mean,
    bootstrap_interval,
    clustered_mean,
    consensus,
    mcnemar,
    mean_interval,
    paired_difference,
    pass_at_k,
)


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(right, k):
    samples = [1] * right + [0] * (5 - right)

    draws = list(combinations(samples, k))
    assert pass_at_k(5, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("samples", "right", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_pass_at_k_of_more_than_there_are(samples, right, k):
    with pytest.raises(ValueError, match=f"pass@{k}"):
        pass_at_k(samples, right, k)


@pytest.mark.parametrize(
    ("votes", "rewards", "paid"),
    [
        (["7", "7", "8"], [1, 1, 0], 1.0),
        (["7", "8", "8"], [1, 0, 0], 0.0),
        (["7", "8"], [1, 0], 0.5),
        ([None, None, "7"], [0, 0, 1], 1.0),
        ([None], [0], 0.0),
        ([], [], 0.0),
    ],
)
def test_the_commonest_answer_is_paid(votes, rewards, paid):
    assert consensus(votes, rewards) == paid


def test_mcnemar_is_the_binomial_test_of_the_flips():
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0
    assert mcnemar(0, 5) == mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 256)
    assert mcnemar(4000, 6000) < 1e-80


def test_a_difference_is_taken_task_by_task():
    first = {"a": [1.0, 0.0], "b": [1.0], "c": [0.0], "only here": [1.0]}
    second = {"a": [1.0], "b": [0.0], "c": [1.0], "lost": []}

    found = paired_difference(first, second)
    assert (found.tasks, found.value) == (3, pytest.approx(0.5 / 3))
    assert found.error == pytest.approx(np.std([0.5, -1, 1], ddof=1) / 3**0.5)
    assert [flip.task for flip in found.gained] == ["a", "c"]
    assert found.lost == [("b", 1.0, 0.0)]
    assert found.interval.low < found.value < found.interval.high
    assert paired_difference({"a": [1.0]}, {"b": [1.0]}) is None
    assert paired_difference({"a": [1.0]}, {"a": [0.0]}).interval is None


def test_a_policy_beside_itself_differs_in_nothing():
    runs = {f"t{i}": [float(i % 3 == 0)] for i in range(20)}

    found = paired_difference(runs, runs)
    assert (found.value, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)
    assert not found.gained and not found.lost


def test_intervals_hold_the_truth_in_95_of_100_evaluations():
    tasks, samples, sets = 120, 4, 4000
    random = np.random.default_rng(7)
    # How hard a task is, and how much better the second policy does on it, are drawn anew.
    ability = random.beta(2, 2, (sets, tasks))
    better = random.uniform(0.0, 0.2, (sets, tasks)) * (1 - ability)
    first = random.binomial(samples, ability) / samples
    second = random.binomial(samples, ability + better) / samples

    ends = bootstrap_interval(second - first, resamples=1000)
    held = (ends[:, 0] <= 0.05) & (ends[:, 1] >= 0.05)
    assert held.mean() == pytest.approx(0.95, abs=0.01)
    errors = first.std(axis=1, ddof=1) / tasks**0.5
    intervals = [
        mean_interval(Mean(mean, error), tasks)
        for mean, error in zip(first.mean(axis=1), errors, strict=True)
    ]
    held = [low <= 0.5 <= high for low, high in intervals]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


def test_errors_of_samples_counted_one_by_one_would_be_too_small():
    values, tasks = [1.0] * 8 + [0.0] * 8, [f"t{i // 4}" for i in range(16)]

    by_task, one_by_one = (
        clustered_mean(values, names).error for names in (tasks, "abcdefghijklmnop")
    )
    assert by_task == pytest.approx(0.5 / 3**0.5)
    assert by_task > 2 * one_by_one
    assert mean_interval(Mean(0.5, None), 1) is None
    # Thirty tasks that are all wrong do not say that none would ever be right.
    assert mean_interval(Mean(0.0, 0.0), 30) == (0.0, pytest.approx(0.1157, abs=1e-4))
    assert mean_interval(Mean(1.0, 0.0), 30).low == pytest.approx(0.8843, abs=1e-4)
    assert mean_interval(Mean(0.0, 1.0), 2).high == pytest.approx(12.706, abs=0.01)
    assert mean_interval(Mean(0.0, 1.0), 5).high == pytest.approx(2.776, abs=0.01)
    assert mean_interval(Mean(0.0, 1.0), 31).high == pytest.approx(2.042, abs=0.001)
