"""The tasks of a mixture: which member comes when, decided by a seed and an index alone.

Draws are made in blocks. A block holds each member as often as its share says, exactly, in an order
that the seed and the number of the block shuffle. So every stretch of some blocks has the shares,
and the n-th draw of a member gets the member's n-th task: none is left out, and none comes twice
before all have come.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from qwq_env.env import ToolEnv
from qwq_env.envs.curriculum import Ladder
from qwq_env.task import Task, TaskSet

_SHORTEST_BLOCK: Final = 64
_LONGEST_BLOCK: Final = 10_000
"""Shares are exact if they fit into so many draws, and to one of as many draws if they do not."""
_HELD_OUT: Final = 4
"""Of a set that knows no splits every fourth task is held out."""


class Member:
    """A part of a mixture: an environment for each of its levels, easiest first, and weights.

    Tasks are of the present level, or for a `mixed` member of all its levels, one after the other.
    """

    def __init__(
        self,
        name: str,
        levels: Sequence[ToolEnv],
        weights: Sequence[float],
        *,
        mixed: bool = False,
    ) -> None:
        self.name, self.levels, self.weights, self.mixed = (
            name,
            tuple(levels),
            tuple(weights),
            mixed,
        )
        self.ladder = Ladder(len(self.levels))

    @property
    def climbs(self) -> bool:
        """Whether its level may change."""
        return len(self.levels) > 1 and not self.mixed

    @property
    def env(self) -> ToolEnv:
        """The environment of the present level."""
        return self.levels[self.ladder.level]

    @property
    def weight(self) -> float:
        """The weight of the present level."""
        return self.weights[self.ladder.level]

    @property
    def size(self) -> int | None:
        """How many tasks there are; None if without end, as where levels change."""
        return self.env.tasks.size if len(self.levels) == 1 else None

    def task(self, index: int) -> Task:
        """Return the task at `index`, by its name in the mixture.

        Beyond the last one a finite set begins again.
        """
        tasks = self.env.tasks
        if self.mixed:
            index, level = divmod(index, len(self.levels))
            tasks = self.levels[level].tasks
        task = tasks.task(index if tasks.size is None else index % tasks.size)
        return self.named(task)

    def sample(self, generator: np.random.Generator) -> Task:
        """Return a task drawn with `generator`, by its name in the mixture."""
        env = self.levels[int(generator.integers(len(self.levels)))] if self.mixed else self.env
        return self.named(env.tasks.sample(generator))

    def named(self, task: Task) -> Task:
        """Return a task of this member by its name in the mixture."""
        return replace(task, id=f"{self.name}/{task.id}")

    def level_of(self, task_id: str) -> int | None:
        """Return the level that has a task of that id (its own), None if none does."""
        for level, env in enumerate(self.levels):
            try:
                env.tasks.find(task_id)
            except KeyError:
                continue
            return level
        return None


class MixtureTaskSet(TaskSet):
    """Tasks of several members, named `member/id`, by their weights at their present levels.

    Without end if a member is, or if finite ones are to `repeat`. Otherwise each task comes once:
    the shares hold until a member has no more, and then among the rest. `sample` draws by weight
    whatever the sizes are.
    """

    def __init__(
        self, members: Mapping[str, Member], *, seed: int = 0, repeat: bool = False
    ) -> None:
        self.seed = seed
        self._by_name = dict(members)
        self._members = tuple(members.values())
        sizes = [member.size for member in self._members if member.size is not None]
        endless = repeat or len(sizes) < len(self._members)
        self._order = None if endless else self._each_once(sizes)
        self.size = None if self._order is None else len(self._order)

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0, of the members' present levels."""
        if index < 0:
            raise IndexError(index)
        which, place = self._drawn(index) if self._order is None else self._order[index]
        return self._members[which].task(place)

    def sample(self, generator: np.random.Generator) -> Task:
        """Return a task of a member drawn by weight, as that member's own set draws it."""
        weights = np.array([member.weight for member in self._members], dtype=np.float64)
        which = int(generator.choice(len(weights), p=weights / weights.sum()))
        return self._members[which].sample(generator)

    def find(self, task_id: str) -> Task:
        """Return the task with that id, of any level. Raises `KeyError` if there is none."""
        name, _, own_id = task_id.partition("/")
        member = self._by_name.get(name)
        level = None if member is None else member.level_of(own_id)
        if member is None or level is None:
            raise KeyError(task_id)
        return member.named(member.levels[level].tasks.find(own_id))

    def _drawn(self, index: int) -> tuple[int, int]:
        """Return the member at `index`, and how many of its draws came before."""
        counts = quotas(tuple(member.weight for member in self._members))
        number, place = divmod(index, sum(counts))
        which, rank = _block(self.seed, number, counts)[place]
        return which, number * counts[which] + rank

    def _each_once(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        counts = quotas(tuple(member.weight for member in self._members))
        taken = [0] * len(sizes)
        order: list[tuple[int, int]] = []
        number = 0
        while len(order) < sum(sizes):
            for which, _ in _block(self.seed, number, counts):
                if taken[which] < sizes[which]:
                    order.append((which, taken[which]))
                    taken[which] += 1
            number += 1
        return order


@functools.lru_cache(maxsize=64)
def quotas(weights: tuple[float, ...]) -> tuple[int, ...]:
    """Return how often each member comes in a block, in proportion to its weight."""
    exact = [Fraction(str(float(weight))) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    common = math.lcm(*(share.denominator for share in shares))
    if common > _LONGEST_BLOCK:
        return tuple(max(1, round(share * _LONGEST_BLOCK)) for share in shares)
    times = common * math.ceil(_SHORTEST_BLOCK / common)
    return tuple(int(share * times) for share in shares)


@functools.lru_cache(maxsize=16)
def _block(seed: int, number: int, counts: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the draws of a block: the member, and how many of its draws came before in it."""
    order = [which for which, count in enumerate(counts) for _ in range(count)]
    random.Random(f"mixture {seed}/{number}").shuffle(order)
    taken = [0] * len(counts)
    draws = []
    for which in order:
        draws.append((which, taken[which]))
        taken[which] += 1
    return tuple(draws)


class Part(TaskSet):
    """The held-out part of a set that knows no splits, every fourth task, or the rest of it."""

    def __init__(self, tasks: TaskSet, *, held_out: bool) -> None:
        self._tasks, self._held_out = tasks, held_out
        self.size = None
        if tasks.size is not None:
            kept = math.ceil(tasks.size / _HELD_OUT)
            self.size = kept if held_out else tasks.size - kept

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0 of this part."""
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(index)
        if self._held_out:
            return self._tasks.task(index * _HELD_OUT)
        return self._tasks.task(index + index // (_HELD_OUT - 1) + 1)

    def find(self, task_id: str) -> Task:
        """Return the task with that id."""
        return self._tasks.find(task_id)
