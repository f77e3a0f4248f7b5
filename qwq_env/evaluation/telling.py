"""The episodes of an evaluation that are most worth reading, and why each is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from qwq_env.trajectory import Trajectory


class Telling(NamedTuple):
    """An episode, and what it shows."""

    trajectory: Trajectory
    why: str


def telling_episodes(trajectories: Sequence[Trajectory], most: int = 10) -> list[Telling]:
    """Return the most telling episodes, of each kind in turn: the same for the same episodes.

    Kinds: a task that goes both ways, judges that disagree, a judge that could not decide, a limit
    that cut, calls that failed, no answer at all, the longest that is wrong, the shortest that is
    right, an episode that was lost.
    """
    ordered = sorted(trajectories, key=lambda t: (t.task_id, t.episode))
    kinds = [list(kind(ordered)) for kind in _KINDS]
    found: dict[str, Telling] = {}
    for row in zip_longest(*kinds):
        for each in filter(None, row):
            found.setdefault(each.trajectory.episode, each)
    return list(found.values())[:most]


def sampled_tokens(trajectory: Trajectory) -> int:
    """Return how many tokens the policy wrote, as far as anybody counted."""
    counted = trajectory.tokens.get("policy")
    return sum(trajectory.mask) if counted is None else counted


def failed_calls(trajectory: Trajectory) -> int:
    """Return how many of its calls came to nothing."""
    return sum(count for kind, count in trajectory.counts.items() if kind != "ok")


def _is_wrong(trajectory: Trajectory) -> bool:
    return trajectory.reward is not None and not trajectory.is_right


def _both_ways(ordered: Sequence[Trajectory]) -> Iterator[Telling]:
    tasks: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in ordered:
        if trajectory.reward is not None:
            tasks[trajectory.task_id].append(trajectory)
    mixed = {task: sum(t.is_right for t in each) for task, each in tasks.items()}
    even = sorted(mixed, key=lambda task: abs(2 * mixed[task] - len(tasks[task])))
    for task in even:
        own, right = tasks[task], mixed[task]
        if 0 < right < len(own):
            wrong = next(t for t in own if not t.is_right)
            yield Telling(wrong, f"goes both ways: {right} of {len(own)} samples are right")


def _disagreed(ordered: Sequence[Trajectory]) -> Iterator[Telling]:
    for trajectory in ordered:
        if trajectory.reward is None or trajectory.outcome.truncated:
            continue
        for name, score in trajectory.scores.items():
            if score is not None and (score >= 1) != trajectory.is_right:
                what = "right" if trajectory.is_right else "wrong"
                yield Telling(trajectory, f"judges disagree: {what}, and {name} says {score:g}")
                break


def _chosen(
    why: str,
    chosen: Callable[[Trajectory], bool],
    key: Callable[[Trajectory], float] = lambda trajectory: 0.0,
) -> Callable[[Sequence[Trajectory]], Iterator[Telling]]:
    def kind(ordered: Sequence[Trajectory]) -> Iterator[Telling]:
        for trajectory in sorted(filter(chosen, ordered), key=key):
            detail = trajectory.outcome.detail if trajectory.outcome.failed else ""
            reason = trajectory.outcome.reason
            yield Telling(trajectory, f"{why.format(reason=reason)}{detail and ': ' + detail:.300}")

    return kind


_KINDS = (
    _both_ways,
    _disagreed,
    _chosen("no judge could decide", lambda t: t.outcome.reason == "undecided"),
    _chosen("cut by a limit ({reason})", lambda t: t.outcome.truncated),
    _chosen("calls that failed, and wrong", lambda t: _is_wrong(t) and failed_calls(t) > 0,
            lambda t: -failed_calls(t)),
    _chosen("no answer", lambda t: _is_wrong(t) and not t.outcome.truncated
            and not t.answer.strip()),
    _chosen("wrong, and longest", _is_wrong, lambda t: -sampled_tokens(t)),
    _chosen("right, and shortest", lambda t: t.is_right, sampled_tokens),
    _chosen("lost", lambda t: t.outcome.failed and t.outcome.reason != "undecided"),
)  # fmt: skip
