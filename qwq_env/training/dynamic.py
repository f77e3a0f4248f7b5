"""Dynamic sampling: groups whose rewards are all alike are replaced by those of other tasks.

GRPO learns nothing from such a group, and late in a run most may be so: a batch of fixed size then
holds less and less to learn from. Here other tasks are played in their place until each group has
two rewards, or until a budget is spent; what is still alike then stays. As in DAPO, which plays on
without a bound.
"""

from __future__ import annotations

import math
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
    played, as many at a time as should do by the share that has varied so far: each time has to
    wait for its longest episode. An episode that was lost has no reward, and differs from none.
    """
    groups = _groups(batch, group)
    flat = [place for place, episodes in enumerate(groups) if not varied(episodes)]
    budget, played = int((factor - 1) * len(groups)), list(batch)
    tried, found = len(groups), len(groups) - len(flat)
    replaced = 0
    while flat and budget:
        asked = min(budget, math.ceil(len(flat) * tried / found)) if found else budget
        others = play(asked)
        played += others
        budget, tried = budget - asked, tried + asked
        teaching = [episodes for episodes in _groups(others, group) if varied(episodes)]
        found += len(teaching)
        for place, episodes in zip(flat, teaching, strict=False):
            groups[place] = episodes
            replaced += 1
        flat = flat[len(teaching) :]
    return Filled([episode for episodes in groups for episode in episodes], played, replaced)


def _groups(episodes: Sequence[Trajectory], size: int) -> list[list[Trajectory]]:
    return [list(episodes[start : start + size]) for start in range(0, len(episodes), size)]


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
