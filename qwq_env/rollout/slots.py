"""Who sits in which slot of the key-value cache, and who must leave when slots are short.

Plain bookkeeping without tensors. A slot belongs to an episode, from its first turn until it is
released or evicted; while a tool runs the slot is idle, but what it holds stays of use.
"""

from __future__ import annotations

import random
from asyncio import AbstractEventLoop, Future
from collections.abc import Sequence
from dataclasses import dataclass, field

from qwq_env.rollout.policy import Generation, GenerationRequest
from qwq_env.rollout.stop_strings import StopStrings


@dataclass(eq=False, slots=True)
class Turn:
    """One `generate` call under way: what was asked, what was sampled, who waits for it."""

    request: GenerationRequest
    prompt: tuple[int, ...]
    loop: AbstractEventLoop
    future: Future[Generation]
    stop: StopStrings
    random: random.Random
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Slot:
    """An episode's place. Of its context `ids`, the first `cached` have keys and values.

    `index` is the row of the storage. `turn` is None while the slot is idle. `used` is the step
    in which the last turn began or ended.
    """

    index: int
    episode: str
    prompt: tuple[int, ...]
    ids: list[int]
    cached: int = 0
    turn: Turn | None = None
    used: int = 0

    @property
    def pending(self) -> int:
        """How many tokens the next forward pass of this slot has to read; at least one."""
        return len(self.ids) - self.cached


PATIENCE = 4
"""Steps for which an idle slot is spared: after a quick tool its episode is back by then, and
reading its context anew would cost more than the wait."""


class SlotTable:
    """The slots in use, by episode and by index."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.evictions = 0
        self._by_index: list[Slot | None] = []
        self._by_episode: dict[str, Slot] = {}
        self._by_prompt: dict[tuple[int, ...], Slot] = {}
        self._step = 0

    def __len__(self) -> int:
        return len(self._by_episode)

    def at(self, index: int) -> Slot | None:
        """Return who sits at a row of the storage."""
        return self._by_index[index]

    def of(self, episode: str) -> Slot | None:
        """Return the slot of an episode, if it has one."""
        return self._by_episode.get(episode)

    def tick(self) -> None:
        """A step begins; time is counted in steps."""
        self._step += 1

    def active(self) -> list[Slot]:
        """Return the slots with a turn under way, by index."""
        return [slot for slot in self._by_index if slot is not None and slot.turn is not None]

    @property
    def idle(self) -> bool:
        """Whether a slot has no turn under way."""
        return len(self.active()) < self.size

    def waited(self, slot: Slot) -> int:
        """Return how many steps ago the slot's turn began."""
        return self._step - slot.used

    def twin(self, prompt: tuple[int, ...]) -> Slot | None:
        """Return a slot whose context begins with `prompt`: its own first prompt was the same."""
        return self._by_prompt.get(prompt)

    def resume(self, slot: Slot, turn: Turn) -> None:
        """Begin the next turn of an episode that still has its slot.

        Keys and values stay of use as far as the new context agrees with the old.
        """
        ids = list(turn.request.ids)
        agreed = _common_prefix(slot.ids, ids)
        slot.cached = min(slot.cached, agreed, len(ids) - 1)
        if agreed < len(slot.prompt):
            self._forget_prompt(slot)
        slot.ids = ids
        self._begin(slot, turn)

    def admit(self, turn: Turn) -> Slot | None:
        """Give a slot to an episode that has none; None when none is free or may be taken.

        The idle slot that was used longest ago is taken, its episode's cache forgotten.
        """
        index = self._free_index()
        if index is None:
            return None
        ids = list(turn.request.ids)
        slot = Slot(index, turn.request.episode, turn.prompt, ids)
        self._by_index[index] = slot
        self._by_episode[slot.episode] = slot
        self._by_prompt.setdefault(slot.prompt, slot)
        self._begin(slot, turn)
        return slot

    def remove(self, slot: Slot) -> None:
        """Free a slot."""
        self._by_index[slot.index] = None
        del self._by_episode[slot.episode]
        self._forget_prompt(slot)

    def pause(self, slot: Slot) -> None:
        """End the turn; the slot stays the episode's, idle."""
        slot.turn = None
        self._touch(slot)

    def permute(self, moves: Sequence[tuple[int, int]]) -> None:
        """Move whoever sits at each first index to the second; a permutation of indices."""
        moved = [(target, self._by_index[source]) for source, target in moves]
        for target, slot in moved:
            self._by_index[target] = slot
            if slot is not None:
                slot.index = target

    def invalidate(self) -> None:
        """Forget all that is cached: idle slots go, turns under way read their context anew."""
        for slot in list(self._by_episode.values()):
            slot.cached = 0
            if slot.turn is None:
                self.remove(slot)

    def _begin(self, slot: Slot, turn: Turn) -> None:
        slot.turn = turn
        self._touch(slot)

    def _touch(self, slot: Slot) -> None:
        slot.used = self._step

    def _free_index(self) -> int | None:
        if len(self._by_episode) < len(self._by_index):
            return self._by_index.index(None)
        if len(self._by_index) < self.size:
            self._by_index.append(None)
            return len(self._by_index) - 1
        idle = [slot for slot in self._by_episode.values() if slot.turn is None]
        if not idle:
            return None
        oldest = min(idle, key=lambda slot: slot.used)
        if self._step - oldest.used < PATIENCE and len(idle) < self.size:
            return None
        self.remove(oldest)
        self.evictions += 1
        return oldest.index

    def _forget_prompt(self, slot: Slot) -> None:
        if self._by_prompt.get(slot.prompt) is slot:
            del self._by_prompt[slot.prompt]


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading elements agree, by bisection: comparing slices runs in C."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low
