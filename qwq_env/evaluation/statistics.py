"""How sure a benchmark's number is: errors by task, pass@k, majority votes, paired differences.

The samples of a task hang together, and so do two policies' results on the same tasks. Both are
taken into account here: every error is one over tasks, and differences are taken task by task.

Sources: Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640 (clustered errors, paired
differences); Chen et al. 2021, arXiv:2107.03374 (unbiased pass@k); Wang et al. 2022,
arXiv:2203.11171 (majority votes); Hesterberg 2015, arXiv:1411.5279 (the percentile bootstrap, and
its expansion for small samples).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Difference",
    "Flip",
    "Interval",
    "Mean",
    "balanced_mean",
    "bootstrap_interval",
    "clustered_mean",
    "consensus",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "pass_at_k",
]

LEVEL: Final = 0.95
"""How often an interval is to hold the truth."""
_RESAMPLES: Final = 2_000
_AT_ONCE: Final = 1_000_000
"""Draws that are held in memory at a time."""


class Mean(NamedTuple):
    """A mean and its standard error; the error is None where there are fewer than two tasks."""

    value: float
    error: float | None


class Interval(NamedTuple):
    """Where the truth lies, in 95 of 100 evaluations."""

    low: float
    high: float


class Flip(NamedTuple):
    """A task that one policy solves and the other does not, with the mean of each."""

    task: str
    first: float
    second: float


class Difference(NamedTuple):
    """How much more the second of two policies is paid than the first, on the `tasks` of both.

    `value` is the mean over tasks of the difference of their means, `error` its standard error,
    `interval` a bootstrap over tasks; both are None for fewer than two tasks. `gained` are the
    tasks that only the second solves (is paid more than half for), `lost` those that only the first
    does; `p_value` is McNemar's exact test of these two counts.
    """

    tasks: int
    value: float
    error: float | None
    interval: Interval | None
    gained: list[Flip]
    lost: list[Flip]
    p_value: float


def clustered_mean(values: Sequence[float], clusters: Sequence[str]) -> Mean | None:
    """Return the mean of `values` (n,) and its standard error where those of one cluster (n,) hang
    together; None for no value.

    The samples of a task do: counted one by one, they would make the error too small. With G
    clusters and e the differences from the mean, the error is
    sqrt(G / (G - 1) · Σ_clusters (Σ e)²) / n; with one value a cluster that is the usual one.
    Source: Miller 2024, section 2.2.
    """
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    sums: defaultdict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    count = len(sums)
    if count < 2:
        return Mean(mean, None)
    squares = math.fsum(each * each for each in sums.values())
    return Mean(mean, math.sqrt(count / (count - 1) * squares) / len(values))


def balanced_mean(
    values: Sequence[float], clusters: Sequence[str], groups: Sequence[str]
) -> Mean | None:
    """Return the mean over groups (n,) of the means of their `values` (n,), with its error.

    Groups that have the same name before a `/` are averaged first: `math/olympiad` and `math/AMPS`
    make one part, `math`. The errors of the groups, by cluster, are independent; one that has none
    (a group of one cluster) leaves the whole without. None for no value.
    """
    shares = _shares(groups)
    by_group: defaultdict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        by_group[group].append(index)
    means = {
        group: clustered_mean([values[i] for i in own], [clusters[i] for i in own])
        for group, own in by_group.items()
    }
    known = [(shares[group], mean) for group, mean in means.items() if mean is not None]
    if not known:
        return None
    value = math.fsum(share * mean.value for share, mean in known)
    if any(mean.error is None for _, mean in known):
        return Mean(value, None)
    return Mean(value, math.sqrt(math.fsum((s * (m.error or 0.0)) ** 2 for s, m in known)))


def balanced_weights(groups: Sequence[str]) -> list[float]:
    """Return the weight of each task in a balanced mean, by the group that it is of: their mean
    is 1."""
    shares, sizes = _shares(groups), Counter(groups)
    return [len(groups) * shares[group] / sizes[group] for group in groups]


def _shares(groups: Iterable[str]) -> dict[str, float]:
    """Return what each group counts for in the whole."""
    names = dict.fromkeys(groups)
    parts = Counter(name.partition("/")[0] for name in names)
    return {name: 1 / len(parts) / parts[name.partition("/")[0]] for name in names}


def mean_interval(mean: Mean, tasks: int) -> Interval | None:
    """Return the interval of a mean over so many tasks, by Student's t; None without an error.

    Where all tasks are at 0, or all at 1, none differs and there is no spread to go by: the bound
    is the exact one of so many trials (Clopper and Pearson 1934), 1 - 0.025^(1 / tasks) away.
    """
    if mean.error is None:
        return None
    if mean.error == 0 and mean.value in (0.0, 1.0):
        reach = 1 - ((1 - LEVEL) / 2) ** (1 / tasks)
        return Interval(0.0, reach) if mean.value == 0 else Interval(1 - reach, 1.0)
    reach = _student_quantile(tasks - 1) * mean.error
    return Interval(mean.value - reach, mean.value + reach)


def share_interval(mean: Mean, tasks: int) -> Interval | None:
    """Return the interval of a mean that is a share: it is none below 0 nor above 1."""
    span = mean_interval(mean, tasks)
    return None if span is None else Interval(max(span.low, 0.0), min(span.high, 1.0))


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the chance that of k samples at least one is right, where `right` of `samples` were.

    Unbiased: 1 - C(samples - right, k) / C(samples, k). Raises ValueError unless
    0 <= right <= samples and 1 <= k <= samples.
    """
    if not (0 <= right <= samples and 1 <= k <= samples):
        raise ValueError(f"pass@{k} of {right} right in {samples}; expected right, k <= samples")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def consensus(votes: Sequence[Hashable | None], rewards: Sequence[float]) -> float:
    """Return what the answer with the most votes is paid, the mean of its `rewards`.

    A vote of None is none: a sample without an answer. Of answers with equally many votes it is
    the mean, as if one were drawn. Without any vote it is 0.
    """
    paid: defaultdict[Hashable, list[float]] = defaultdict(list)
    for vote, reward in zip(votes, rewards, strict=True):
        if vote is not None:
            paid[vote].append(reward)
    most = max(map(len, paid.values()), default=0)
    winners = [math.fsum(each) / most for each in paid.values() if len(each) == most]
    return math.fsum(winners) / len(winners) if winners else 0.0


def paired_difference(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Difference | None:
    """Compare the rewards of two policies by task; None if they have no task in common.

    Each task counts once, however many samples it has in either. With the `groups` of the tasks
    the difference is that of two balanced means (see `balanced_mean`).
    """
    tasks = [task for task in first if first[task] and second.get(task)]
    if not tasks:
        return None
    pairs = [Flip(task, _mean(first[task]), _mean(second[task])) for task in tasks]
    weights = [1.0] * len(tasks) if groups is None else balanced_weights([groups[t] for t in tasks])
    values = [w * (pair.second - pair.first) for w, pair in zip(weights, pairs, strict=True)]
    mean = clustered_mean(values, tasks)
    assert mean is not None
    interval = None
    if len(tasks) > 1:
        low, high = bootstrap_interval(np.array(values), seed=seed)
        interval = Interval(float(low), float(high))
    gained = [pair for pair in pairs if pair.first <= 0.5 < pair.second]
    lost = [pair for pair in pairs if pair.second <= 0.5 < pair.first]
    p_value = mcnemar(len(lost), len(gained))
    return Difference(len(tasks), mean.value, mean.error, interval, gained, lost, p_value)


def bootstrap_interval(
    values: NDArray[np.floating[Any]],
    *,
    level: float = LEVEL,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> NDArray[np.floating[Any]]:
    """Return the ends (..., 2) of the bootstrap interval of the mean of `values` (..., n), n > 1.

    Percentiles of means of resampled values are too narrow for few tasks: by the factor
    sqrt((n - 1) / n), and as the normal distribution is beside Student's. So those percentiles are
    taken that are farther out by as much (Hesterberg 2015, "expanded"). An interval of no width
    says that no two values differed; it does not say that none would.
    """
    size = values.shape[-1]
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // size)
    means = []
    for start in range(0, resamples, step):
        counts = random.multinomial(size, np.full(size, 1 / size), min(step, resamples - start))
        means.append(values @ (counts.T / size))
    reach = math.sqrt(size / (size - 1)) * _student_quantile(size - 1, level)
    tail = NormalDist().cdf(-reach)
    ends = np.quantile(np.concatenate(means, axis=-1), [tail, 1 - tail], axis=-1)
    return np.moveaxis(ends, 0, -1)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test, of how many only one of two gets right."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    below = ways = 1
    for count in range(fewer):
        ways = ways * (total - count) // (count + 1)
        below += ways
    # As 2 · below / 2^total, in integers, which do not overflow.
    return min(1.0, below / (1 << (total - 1))) if total else 1.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _student_quantile(freedom: int, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t with so many degrees of freedom.

    Exact for one and two, else the expansion in 1 / freedom (Abramowitz and Stegun, 26.7.5), which
    is right to a hundredth from four degrees on.
    """
    tail = (1 - level) / 2
    if freedom == 1:
        return 1 / math.tan(math.pi * tail)
    if freedom == 2:
        return (1 - 2 * tail) / math.sqrt(2 * tail * (1 - tail))
    z = NormalDist().inv_cdf(1 - tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
