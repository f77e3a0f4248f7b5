"""What the episodes of an evaluation come to, with the error of it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from qwq_env.evaluation.statistics import (
    Interval,
    Mean,
    balanced_mean,
    clustered_mean,
    consensus,
    pass_at_k,
    share_interval,
)
from qwq_env.trajectory import Trajectory

_MOST_NAMED: Final = 20


class Reading(NamedTuple):
    """What a benchmark looks at: what an answer votes for (None: nothing), the part of the
    benchmark that a task is of, by its id, and the names of what is judged beside the reward.
    `partial` and `balanced` are `Benchmark`'s."""

    vote: Callable[[str], Hashable | None] | None = None
    groups: Mapping[str, str] = {}
    measures: Sequence[str] = ()
    partial: bool = False
    balanced: bool = False

    def value(self, trajectory: Trajectory) -> float:
        """Return what an episode that was scored counts for."""
        return float((trajectory.reward or 0.0) if self.partial else trajectory.is_right)

    def mean(self, scored: Sequence[Trajectory]) -> Mean | None:
        """Return the mean of these episodes, as the benchmark takes it."""
        return self.mean_of([self.value(t) for t in scored], [t.task_id for t in scored])

    def mean_of(self, values: Sequence[float], tasks: Sequence[str]) -> Mean | None:
        """Return the mean of these values (n,), each of one of the `tasks` (n,), taken so."""
        if not self.balanced:
            return clustered_mean(values, tasks)
        return balanced_mean(values, tasks, [self.groups.get(task, "") for task in tasks])


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation in numbers.

    `accuracy` (the share that counts as right, see `Rubric.right`, or what else the benchmark
    takes) and `reward` are over the episodes that were not lost, None if all were; `interval` holds
    it in 95 of 100 evaluations.
    `lost` and `truncated` count by reason. An episode whose judge could not decide is `undecided`,
    not lost and never wrong; it and the first lost ones (`lost_episodes`) are named, `EPISODE:
    why`. `sampled_tokens` and `prompt_tokens` are None where the policy speaks messages. `members`
    are the accuracies in a mixture's members, by name, `groups` those in the parts of a benchmark.

    Of several samples a task, `average` is the mean of the tasks' accuracies (avg@k), `passes` are
    pass@k by k, and `consensus` is cons@k, what the commonest answer of a task is paid.
    `measures` are the means of what was judged beside the reward. `replies` counts what was odd in
    what the policy said, `usage` what it was asked and sampled, lost episodes included, and `cost`
    is what that comes to at the prices that were given; see `qwq_env.evaluation.meter`.
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
    members: dict[str, Mean | None] = field(default_factory=dict)
    interval: Interval | None = None
    undecided: list[str] = field(default_factory=list)
    lost_episodes: list[str] = field(default_factory=list)
    average: Mean | None = None
    passes: dict[int, Mean] = field(default_factory=dict)
    consensus: Mean | None = None
    measures: dict[str, Mean | None] = field(default_factory=dict)
    groups: dict[str, Mean | None] = field(default_factory=dict)
    replies: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    cost: float | None = None


def summarize_evaluation(
    trajectories: Sequence[Trajectory],
    members: Collection[str] = (),
    reading: Reading | None = None,
) -> Summary:
    """Return what these episodes come to; of a mixture also by `members` (`ToolEnv.members`)."""
    reading = reading or Reading()
    scored = [trajectory for trajectory in trajectories if trajectory.reward is not None]
    tasks = [trajectory.task_id for trajectory in scored]
    rewards = [float(t.reward) for t in scored if t.reward is not None]
    spoken = any(trajectory.messages for trajectory in trajectories)
    accuracy = reading.mean(scored)
    failed = [t for t in trajectories if t.outcome.failed]
    undecided = [t for t in failed if t.outcome.reason == "undecided"]
    lost = [t for t in failed if t.outcome.reason != "undecided"]
    samples = _by_task(scored)
    return Summary(
        tasks=len({trajectory.task_id for trajectory in trajectories}),
        episodes=len(trajectories),
        accuracy=accuracy,
        reward=clustered_mean(rewards, tasks),
        lost=_reasons(lost),
        truncated=_reasons(t for t in trajectories if t.outcome.truncated),
        tool_call_rate=_mean([float(t.counts.get("ok", 0) > 0) for t in scored]),
        mean_turns=_mean([float(t.turns) for t in scored]),
        prompt_tokens=None if spoken else sum(t.prompt_length for t in trajectories),
        sampled_tokens=None if spoken else sum(_sampled(t) for t in trajectories),
        members={name: _accuracy_in(name, scored) for name in members},
        interval=None if accuracy is None else share_interval(accuracy, len(samples)),
        undecided=[_told(t) for t in undecided],
        lost_episodes=[_told(t) for t in lost[:_MOST_NAMED]],
        average=_average(samples, reading),
        passes=_passes(samples),
        consensus=None if reading.vote is None else _consensus(samples, reading.vote),
        measures={name: _measure(name, scored) for name in reading.measures},
        groups=_grouped(scored, reading),
    )


_Samples = Mapping[str, Sequence[Trajectory]]


def _by_task(scored: Sequence[Trajectory]) -> _Samples:
    tasks: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in scored:
        tasks[trajectory.task_id].append(trajectory)
    return tasks


def _average(samples: _Samples, reading: Reading) -> Mean | None:
    """Return the mean of the tasks' means, in which a task with fewer samples counts as much."""
    means = [math.fsum(map(reading.value, each)) / len(each) for each in samples.values()]
    return reading.mean_of(means, list(samples))


def _passes(samples: _Samples) -> dict[int, Mean]:
    """Return pass@k for the powers of two, and for the samples that every scored task has."""
    fewest = min(map(len, samples.values()), default=0)
    wanted = [2**power for power in range(fewest.bit_length())] if fewest > 1 else []
    found = {}
    for k in dict.fromkeys([*wanted, *([fewest] if wanted else [])]):
        chances = [
            pass_at_k(len(each), sum(t.is_right for t in each), k) for each in samples.values()
        ]
        mean = clustered_mean(chances, list(samples))
        assert mean is not None
        found[k] = mean
    return found


def _consensus(samples: _Samples, vote: Callable[[str], Hashable | None]) -> Mean | None:
    paid = [
        consensus([vote(t.answer) for t in each], [float(t.is_right) for t in each])
        for each in samples.values()
    ]
    return clustered_mean(paid, list(samples))


def _measure(name: str, scored: Sequence[Trajectory]) -> Mean | None:
    """Return the mean of a score that was taken beside the reward; one that was not taken, of an
    episode that a limit cut, is 0, and an undecided one is none."""
    taken = [(t.scores.get(name, 0.0), t.task_id) for t in scored]
    decided = [(value, task) for value, task in taken if value is not None]
    return clustered_mean([value for value, _ in decided], [task for _, task in decided])


def _grouped(scored: Sequence[Trajectory], reading: Reading) -> dict[str, Mean | None]:
    """Return the means of a benchmark's groups; of `math/olympiad` and its like those of `math`
    too."""
    found: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in scored:
        if group := reading.groups.get(trajectory.task_id):
            for name in dict.fromkeys([group.partition("/")[0], group]):
                found[name].append(trajectory)
    return {name: reading.mean(found[name]) for name in sorted(found)}


def _told(trajectory: Trajectory) -> str:
    outcome = trajectory.outcome
    why = f"{outcome.reason} {outcome.detail}".strip()
    return f"{trajectory.episode} of {trajectory.task_id}: {why:.300}"


def _accuracy_in(member: str, scored: Sequence[Trajectory]) -> Mean | None:
    return _accuracy([t for t in scored if t.task_id.partition("/")[0] == member])


def _accuracy(own: Sequence[Trajectory]) -> Mean | None:
    return clustered_mean([float(t.is_right) for t in own], [t.task_id for t in own])


def _sampled(trajectory: Trajectory) -> int:
    return sum(sum(row.mask) for row in trajectory.rows)


def _reasons(trajectories: Iterable[Trajectory]) -> dict[str, int]:
    counts = Counter(trajectory.outcome.reason for trajectory in trajectories)
    return dict(counts.most_common())


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
