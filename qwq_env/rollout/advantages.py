"""What GRPO made of the stored rewards: each against the others of its group.

Computed again as TRL's `GRPOTrainer` does it, (reward - mean) / (deviation + 1e-4), for a row is
written when its episode ends, before its group is whole.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

_LEAST_DEVIATION: Final = 1e-4
_NAME: Final = re.compile(r"(\d+)-(\d+)\.(\d+)\.(\d+)")
"""Step, call, rank and place, as `Rollouts` names the episodes of training."""


class Paid(Protocol):
    """What is looked at of an episode."""

    @property
    def step(self) -> int | None: ...
    @property
    def task(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def reward(self) -> float | None: ...


Episode = TypeVar("Episode", bound=Paid)


def advantages_of(
    episodes: Sequence[Episode], grpo: Mapping[str, Any] | None
) -> Iterator[tuple[Episode, float | None]]:
    """Yield the episodes of training with their advantages; None for one that was lost.

    `grpo` is the recipe's section: the size of a `group`, and TRL's `scale_rewards`. Nothing is
    yielded without it, nor where the rewards were drawn by lot.
    """
    if grpo is None or grpo.get("reward", "environment") != "environment":
        return
    trl = grpo.get("trl")
    scale = str(trl.get("scale_rewards", "group") if isinstance(trl, dict) else "group").lower()
    scale = {"true": "group", "false": "none"}.get(scale, scale)
    batches: dict[Any, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.step is not None and (name := _NAME.fullmatch(episode.name)):
            batches[episode.step, name[2]].append(episode)
    for batch in batches.values():
        spread = _deviation([episode.reward for episode in batch])
        for group in _groups(batch, grpo.get("group")):
            rewards = [episode.reward for episode in group]
            paid = [reward for reward in rewards if reward is not None]
            mean = math.fsum(paid) / len(paid) if paid else math.nan
            deviation = {"group": _deviation(rewards), "batch": spread}.get(scale)
            by = 1.0 if deviation is None else deviation + _LEAST_DEVIATION
            for episode, reward in zip(group, rewards, strict=True):
                yield episode, None if reward is None else (reward - mean) / by


def _groups(batch: Sequence[Episode], size: object) -> Iterator[list[Episode]]:
    """Yield the groups of a batch. A task that came twice has two of them, one behind the other."""
    by_task: dict[str, list[Episode]] = defaultdict(list)
    for episode in sorted(batch, key=_place):
        by_task[episode.task].append(episode)
    for same in by_task.values():
        length = size if isinstance(size, int) and size > 0 else len(same)
        for start in range(0, len(same), length):
            yield same[start : start + length]


def _place(episode: Paid) -> tuple[int, int]:
    name = _NAME.fullmatch(episode.name)
    assert name is not None
    return int(name[3]), int(name[4])


def _deviation(rewards: Sequence[float | None]) -> float:
    paid = [reward for reward in rewards if reward is not None]
    if len(paid) < 2:
        return 0.0
    mean = math.fsum(paid) / len(paid)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in paid) / (len(paid) - 1))
