"""Dynamic sampling: groups whose rewards are all alike are replaced by those of other tasks.

GRPO learns nothing from such a group, and late in a run most may be so: a batch of fixed size then
holds less and less to learn from. Here other tasks are played in their place until each group has
two rewards, or until a budget is spent; what is still alike then stays. As in DAPO, which plays on
without a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from qwq_env.errors import UsageError
from qwq_env.rollout.engine import Assignment
from qwq_env.training.updates import spare_groups
from qwq_env.trajectory import Trajectory

MOST = 2
"""How many batches of others are played at a time: they share the wall time of one."""


class Groups(NamedTuple):
    """How many were `played`, have two different rewards (`varied`), and stand in place of others
    (`replaced`)."""

    played: int = 0
    varied: int = 0
    replaced: int = 0


class Filled(NamedTuple):
    """A batch after replacement: its episodes, all that were played, and what groups those were."""

    kept: list[Trajectory]
    played: list[Trajectory]
    groups: Groups = Groups()


def fill(
    first: Sequence[Assignment],
    others: Iterator[Assignment],
    group: int,
    factor: float,
    share: float,
    play: Callable[[Sequence[Assignment]], list[Trajectory]],
) -> Filled:
    """Play `first` (groups × `group`,), with others in place of groups without two rewards.

    At most (`factor` - 1) × the groups of the batch are played beyond it, each the next `group` of
    `others`. As many are played at a time as should do (`MOST` batches at most), at first by the
    `share` of groups that varied in the step before, for each time has to wait for its longest
    episode. An episode that was lost has no reward, and differs from none; where all of a time
    were, no more are asked for.
    """
    places = len(first) // group
    budget, most = spare_groups(places, factor), MOST * places
    beside = min(budget, most, enough(places, share) - places if share else most)
    played = play([*first, *islice(others, beside * group)])
    groups = _groups(played, group)
    batch, spare = groups[:places], groups[places:]
    flat = [place for place, episodes in enumerate(batch) if not varied(episodes)]
    found, replaced = places - len(flat), 0
    while True:
        teaching = [episodes for episodes in spare if varied(episodes)]
        found += len(teaching)
        for place, episodes in zip(flat, teaching, strict=False):
            batch[place] = episodes
            replaced += 1
        flat = flat[len(teaching) :]
        budget -= len(spare)
        if not flat or not budget or all(t.outcome.failed for each in spare or batch for t in each):
            break
        wanted = enough(len(flat), found * group / len(played)) if found else most
        asked = min(budget, most, wanted)
        spare = _groups(play(list(islice(others, asked * group))), group)
        played += [episode for episodes in spare for episode in episodes]
    kept = [episode for episodes in batch for episode in episodes]
    return Filled(kept, played, Groups(len(played) // group, found, replaced))


def enough(wanted: int, share: float) -> int:
    """Return how many groups to play for `wanted` that vary, where a `share` (0, 1] of them does.

    By mean and standard deviation: five times in six they do.
    """
    deviation = math.sqrt(share * (1 - share))
    root = (deviation + math.sqrt(deviation**2 + 4 * share * wanted)) / (2 * share)
    return math.ceil(round(root**2, 6))


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
