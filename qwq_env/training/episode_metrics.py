"""What the episodes of a step came to, in numbers that can be added up over ranks.

A mean of means is wrong where ranks hold different numbers, and a name that only one rank has seen
would be divided by that rank alone. So each rank gives sums and counts, and divides last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from qwq_env.trajectory import PhaseSeconds, Trajectory


class EpisodeSums(NamedTuple):
    """Sums over `episodes`: `totals` are divided by their number, `own` each by its own count."""

    episodes: int
    totals: dict[str, float]
    own: dict[str, tuple[float, int]]


def episode_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return means over episodes: see `episode_sums`; nothing for no episode."""
    return means([episode_sums(trajectories)])


def episode_sums(
    trajectories: Sequence[Trajectory], environments: Sequence[str] | None = None
) -> EpisodeSums:
    """Return sums over episodes: scores, tool use, errors by kind, outcomes, seconds by phase.

    A score counts where it was decided. `right` is the share of the graded that is right, and
    `tokens/right`, `tokens/wrong` the policy's tokens in those that are and are not.
    `environments` (episodes,) names where each was played; then each has its `reward/<name>`.
    """
    totals: Counter[str] = Counter()
    for trajectory in trajectories:
        totals.update(_totals(trajectory))
    own: dict[str, tuple[float, int]] = {}
    for index, trajectory in enumerate(trajectories):
        values = {f"scores/{name}": value for name, value in trajectory.scores.items()}
        if trajectory.reward is not None:
            values["right"] = float(trajectory.is_right)
            kind = "right" if trajectory.is_right else "wrong"
            values[f"tokens/{kind}"] = trajectory.tokens.get("policy", 0)
            if environments is not None:
                values[f"reward/{environments[index]}"] = trajectory.reward
        for name, value in values.items():
            if value is not None:
                total, count = own.get(name, (0.0, 0))
                own[name] = total + value, count + 1
    return EpisodeSums(len(trajectories), dict(totals), own)


def means(parts: Iterable[EpisodeSums]) -> dict[str, float]:
    """Return the means over the episodes of all `parts`, those of the ranks for example."""
    episodes = 0
    totals: Counter[str] = Counter()
    own: dict[str, tuple[float, int]] = {}
    for part in parts:
        episodes += part.episodes
        totals.update(part.totals)
        for name, (total, count) in part.own.items():
            before, counted = own.get(name, (0.0, 0))
            own[name] = before + total, counted + count
    metrics = {name: total / episodes for name, total in totals.items()} if episodes else {}
    return metrics | {name: total / count for name, (total, count) in own.items()}


def _totals(trajectory: Trajectory) -> Mapping[str, float]:
    outcome = trajectory.outcome
    totals: dict[str, float] = {
        "turns": trajectory.turns,
        "tool_calls": trajectory.tool_calls,
        "tool_call_rate": trajectory.counts.get("ok", 0) > 0,
        "attempts": trajectory.attempts,
        "lost": outcome.failed,
        "truncated": outcome.truncated,
    }
    if outcome.failed or outcome.truncated:
        totals[f"{'lost' if outcome.failed else 'truncated'}/{outcome.reason}"] = 1
    totals |= {f"tokens/{author}": count for author, count in trajectory.tokens.items()}
    totals |= {f"calls/{kind}": count for kind, count in trajectory.counts.items()}
    seconds = trajectory.seconds._asdict()
    return totals | {f"seconds/{phase}": seconds[phase] for phase in PhaseSeconds._fields}
