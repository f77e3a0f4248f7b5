"""Dynamic sampling: groups whose rewards are all alike are replaced by those of other tasks.

GRPO learns nothing from such a group, and late in a run most may be so: a batch of fixed size then
holds less and less to learn from. Here other tasks are played in their place until each group has
two rewards, or until a budget is spent; what is still alike then stays. As in DAPO, which plays on
without a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from qwq_env.errors import UsageError
from qwq_env.trajectory import Trajectory


class Filled(NamedTuple):
    """A batch after replacement: its episodes, all that were played, and how many groups of the
    batch are others than at first."""

    kept: list[Trajectory]
    played: list[Trajectory]
    replaced: int


def fill(
    batch: Sequence[Trajectory],
    group: int,
    factor: float,
    play: Callable[[int], list[Trajectory]],
) -> Filled:
    """Replace groups of `batch` (groups × `group`,) that have no two different rewards.

    `play(n)` plays n groups of other tasks. At most (`factor` - 1) × the groups of the batch are
    played. An episode that was lost has no reward, and differs from none.
    """
    groups = [list(batch[start : start + group]) for start in range(0, len(batch), group)]
    flat = [place for place, episodes in enumerate(groups) if not varied(episodes)]
    budget, played = int((factor - 1) * len(groups)), list(batch)
    replaced = 0
    while flat and budget:
        others = play(min(len(flat), budget))
        budget -= len(others) // group
        played += others
        for start in range(0, len(others), group):
            episodes = others[start : start + group]
            if varied(episodes):
                groups[flat.pop(0)] = episodes
                replaced += 1
    return Filled([episode for episodes in groups for episode in episodes], played, replaced)


def varied(episodes: Sequence[Trajectory]) -> bool:
    """Whether two episodes of a group were paid differently."""
    return len({episode.reward for episode in episodes if episode.reward is not None}) > 1


def check_whole_groups(held: int, group: int) -> None:
    """Raise `UsageError` if a process holds a part of a group, which it cannot replace."""
    if held % group:
        raise UsageError(
            f"dynamic: a process has {held} episodes, which are no whole groups of {group};"
            " expected a multiple"
        )
