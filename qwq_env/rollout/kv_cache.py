"""Keys and values of many episodes, one slot each, that outlive the turn they were made in.

A `transformers` cache holds one batch whose rows are all the same length and always take part
together. Episodes differ in length and leave for their tools, so here every slot has a length
of its own, and each forward pass says by a `Pass` which slots it writes and reads.

Nothing here knows how long a slot is: positions at or after a slot's length hold leftovers,
which the attention mask hides and the next write covers. They are always finite numbers as
long as the model's are, because storage begins as zeros (a masked NaN would still spread).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = (8, 64)
"""Storage grows by whole multiples of these (slots, positions), so that few steps move it."""


class Pass(NamedTuple):
    """What one forward pass does to the storage.

    `slots` (rows,) int64, and `columns` (rows, queries) int64: where the new keys go. `read` is
    the number of positions that attention looks at, from 0; `None` means the new keys alone
    (nothing came before them). `in_order` says that `slots` is 0, 1, 2, ..., so that reading
    needs no copy.
    """

    slots: Tensor
    columns: Tensor
    read: int | None
    in_order: bool


class SlotLayer(CacheLayerMixin):  # type: ignore[misc] # transformers ships no types
    """One layer's storage: `keys` and `values` of (slots, kv heads, positions, head size)."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.plan: Pass | None = None
        self.size = (0, 0)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make storage for states of (rows, kv heads, queries, head size)."""
        slots, positions = self.size
        self.keys = key_states.new_zeros(slots, key_states.shape[1], positions, key_states.shape[3])
        self.values = value_states.new_zeros(
            slots, value_states.shape[1], positions, value_states.shape[3]
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the new states and return those that attention is to look at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.plan is not None
        where = (self.plan.slots[:, None], slice(None), self.plan.columns)
        self.keys[where] = key_states.transpose(1, 2)
        self.values[where] = value_states.transpose(1, 2)
        if self.plan.read is None:
            return key_states, value_states
        return self._read(self.keys, self.plan), self._read(self.values, self.plan)

    def _read(self, states: Tensor, plan: Pass) -> Tensor:
        if plan.in_order:
            return states[: len(plan.slots), :, : plan.read]
        return states[:, :, : plan.read].index_select(0, plan.slots)

    def resize(self, slots: int, positions: int) -> None:
        """Grow the storage; what it holds stays."""
        self.size = (slots, positions)
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(slots, old.shape[1], positions, old.shape[3])
            new[: old.shape[0], :, : old.shape[2]] = old
            setattr(self, name, new)

    def copy(self, sources: Tensor, targets: Tensor, positions: int) -> None:
        """Copy the first positions of slots to other slots, all at once (so swaps are right)."""
        if self.is_initialized:
            for states in (self.keys, self.values):
                states[targets, :, :positions] = states[sources, :, :positions]

    def clear(self, slot: int) -> None:
        """Fill a slot with zeros again."""
        if self.is_initialized:
            self.keys[slot] = 0
            self.values[slot] = 0

    def get_seq_length(self) -> int:
        """Return how many positions come before the new ones, as far as they are all read."""
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return (key length, offset) for a pass that reads its own keys alone."""
        return query_length, 0

    def get_max_length(self) -> int:
        """Return -1: the storage grows."""
        return -1

    def get_max_cache_shape(self) -> int:
        """Return -1, as `get_max_length`; the name that older versions ask for."""
        return -1


class SlotCache(Cache):  # type: ignore[misc] # transformers ships no types
    """The storage of all layers. Give it to a model, after `begin`, as its `cache_argument`."""

    def __init__(self, layers: int, most_slots: int) -> None:
        super().__init__(layers=[SlotLayer() for _ in range(layers)])
        self._most = most_slots
        self.size = (0, 0)

    def begin(self, plan: Pass) -> None:
        """Say what the next forward pass does."""
        for layer in self.layers:
            layer.plan = plan

    def reserve(self, slots: int, positions: int) -> None:
        """Make room for at least `slots` (no more than there may be) × `positions`."""
        if slots <= self.size[0] and positions <= self.size[1]:
            return
        self.size = (
            max(self.size[0], min(-(-slots // GROWTH[0]) * GROWTH[0], self._most)),
            max(self.size[1], -(-positions // GROWTH[1]) * GROWTH[1]),
        )
        for layer in self.layers:
            layer.resize(*self.size)

    def clear(self, slot: int) -> None:
        """Fill a slot with zeros again."""
        for layer in self.layers:
            layer.clear(slot)

    def copy(self, sources: Sequence[int], targets: Sequence[int], positions: int) -> None:
        """Copy the first `positions` of each source slot to the target slot beside it."""
        layers = [layer for layer in self.layers if layer.is_initialized]
        if not layers or not positions:
            return
        for layer in layers:
            device = layer.keys.device
            layer.copy(
                torch.tensor(sources, device=device),
                torch.tensor(targets, device=device),
                positions,
            )
