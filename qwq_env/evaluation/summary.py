"""What the episodes of an evaluation come to, with the error of it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qwq_env.trajectory import Trajectory


class Mean(NamedTuple):
    """A mean and its standard error; the error is None where there are fewer than two tasks."""

    value: float
    error: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation in numbers.

    `accuracy` (the share that counts as right, see `Rubric.right`) and `reward` are over the
    episodes that were not lost, None if all were. `lost` and `truncated` count by reason.
    `sampled_tokens` and `prompt_tokens` are None where the policy speaks messages.
    """

    tasks: int
    episodes: int
    accuracy: Mean | None
    reward: Mean | None
    lost: dict[str, int]
    truncated: dict[str, int]
    tool_call_rate: float | None
    mean_turns: float | None
    prompt_tokens: int | None
    sampled_tokens: int | None


def summarize_evaluation(trajectories: Sequence[Trajectory]) -> Summary:
    """Return what these episodes come to."""
    scored = [trajectory for trajectory in trajectories if trajectory.reward is not None]
    tasks = [trajectory.task_id for trajectory in scored]
    rewards = [float(t.reward) for t in scored if t.reward is not None]
    spoken = any(trajectory.messages for trajectory in trajectories)
    return Summary(
        tasks=len({trajectory.task_id for trajectory in trajectories}),
        episodes=len(trajectories),
        accuracy=clustered_mean([float(t.is_right) for t in scored], tasks),
        reward=clustered_mean(rewards, tasks),
        lost=_reasons(t for t in trajectories if t.outcome.failed),
        truncated=_reasons(t for t in trajectories if t.outcome.truncated),
        tool_call_rate=_mean([float(t.counts.get("ok", 0) > 0) for t in scored]),
        mean_turns=_mean([float(t.turns) for t in scored]),
        prompt_tokens=None if spoken else sum(t.prompt_length for t in trajectories),
        sampled_tokens=None if spoken else sum(_sampled(t) for t in trajectories),
    )


def clustered_mean(values: Sequence[float], clusters: Sequence[str]) -> Mean | None:
    """Return the mean of `values` (n,) and its standard error where those of one cluster (n,) hang
    together; None for no value.

    The samples of a task do: counted one by one, they would make the error too small. With G
    clusters and e the differences from the mean, the error is
    sqrt(G / (G - 1) · Σ_clusters (Σ e)²) / n; with one value a cluster that is the usual one.
    Source: Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640, section 2.2.
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


def _sampled(trajectory: Trajectory) -> int:
    return sum(sum(row.mask) for row in trajectory.rows)


def _reasons(trajectories: Iterable[Trajectory]) -> dict[str, int]:
    counts = Counter(trajectory.outcome.reason for trajectory in trajectories)
    return dict(counts.most_common())


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
