"""Which contexts are read together: few forward passes against little padding."""

from __future__ import annotations

from collections.abc import Sequence

from qwq_env.rollout.slots import Slot

PREFILL_TOKENS = 16_384
"""Bound on rows × longest row of one prefill pass, padding included, for the memory it takes."""

MASK_ENTRIES = 2**27
"""Bound on rows × queries × positions of a prefill pass that reads what is cached."""

FREE_PADDING = 256
"""Tokens of padding that cost less than a second forward pass would."""


def prefill_passes(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Split slots into prefill passes of like kind and like length, so that padding stays small.

    Slots with nothing cached go apart from the others: they need no mask, and read no storage.
    """
    fresh = [slot for slot in slots if slot.cached == 0]
    others = [slot for slot in slots if slot.cached]
    groups: list[list[Slot]] = []
    for kind in (fresh, others):
        longest = max((len(slot.ids) for slot in kind), default=1)
        most = PREFILL_TOKENS if kind is fresh else min(PREFILL_TOKENS, MASK_ENTRIES // longest)
        tokens = 0
        for position, slot in enumerate(sorted(kind, key=lambda slot: slot.pending)):
            rows = 1 if position == 0 else len(groups[-1]) + 1
            padded = rows * slot.pending
            waste = padded - tokens - slot.pending
            if position == 0 or padded > most or waste > max(FREE_PADDING, padded // 4):
                groups.append([])
                tokens = 0
            groups[-1].append(slot)
            tokens += slot.pending
    return groups
