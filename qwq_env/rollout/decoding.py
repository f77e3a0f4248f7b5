"""Continuous batching: one step of generation for all episodes that wait for a token.

A step first takes in the turns that wait, reads what is new of their contexts (prefill), then
samples one token for every turn under way (decode). Turns leave and join between any two
steps; nobody waits for another's turn to end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qwq_env.errors import InfrastructureError
from qwq_env.rollout.draw import draw
from qwq_env.rollout.grouped_attention import attending_in_groups
from qwq_env.rollout.kv_cache import Pass, SlotCache
from qwq_env.rollout.policy import Generation
from qwq_env.rollout.prefill import prefill_passes
from qwq_env.rollout.slots import Slot, SlotTable, Turn
from qwq_env.versions import cache_argument

COMPANY = 4
"""Steps for which a prefill waits for others to share the pass."""


class Statistics(NamedTuple):
    """Counts since the policy was made.

    `prefilled` tokens of context went through the model, `copied` ones were taken from an
    episode with the same prompt, `sampled` ones came out, in `passes` forward passes.
    `evictions` slots were taken from idle episodes.
    """

    prefilled: int
    copied: int
    sampled: int
    passes: int
    evictions: int


class Ended(NamedTuple):
    """A turn that is over, and how: a generation, or the error to raise."""

    turn: Turn
    result: Generation | InfrastructureError


class Copy(NamedTuple):
    """The first `length` positions of the slot at `source` also belong to the one at `target`."""

    source: int
    target: int
    length: int


class Decoding:
    """The batch: its slots, its key-value cache, and the model. For one thread alone."""

    def __init__(self, model: Any, slots: int, max_length: int) -> None:
        self._model = model
        self._cache_argument = cache_argument(model.forward)
        self._max_length = max_length
        self._table = SlotTable(slots)
        self._waiting: deque[Turn] = deque()
        self._slots = slots
        self._ended: list[Ended] = []
        self._cache = self._empty_cache()
        self._prefilled = self._copied = self._sampled = self._passes = 0

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._table.active())

    def statistics(self) -> Statistics:
        """Return the counts so far."""
        return Statistics(
            self._prefilled, self._copied, self._sampled, self._passes, self._table.evictions
        )

    def submit(self, turn: Turn) -> None:
        """Queue a turn."""
        self._waiting.append(turn)

    def cancel(self, turn: Turn) -> None:
        """Drop a turn, and with it what its episode has cached."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        slot = self._table.of(turn.request.episode)
        if slot is not None and slot.turn is turn:
            self._table.remove(slot)

    def release(self, episode: str) -> None:
        """Free the slot of an episode that has ended."""
        slot = self._table.of(episode)
        if slot is not None and slot.turn is None:
            self._table.remove(slot)

    def invalidate(self) -> None:
        """Drop every key and value, and give the memory back."""
        self._table.invalidate()
        self._cache = self._empty_cache()

    def fail(self, reason: str) -> list[Ended]:
        """End the turns under way with an error, and return them beside those already ended.

        Turns still queued will be tried.
        """
        for slot in self._table.active():
            if slot.turn is not None:
                self._ended.append(Ended(slot.turn, InfrastructureError(reason)))
            self._table.remove(slot)
        self.invalidate()
        return self._take_ended()

    def abandon(self, reason: str) -> list[Ended]:
        """End all turns with an error, those still queued too."""
        self._ended += [Ended(turn, InfrastructureError(reason)) for turn in self._waiting]
        self._waiting.clear()
        return self.fail(reason)

    def step(self) -> list[Ended]:
        """Sample one token for every turn that has a slot; return the turns that ended.

        Whatever the model raises passes through; `fail` then makes the batch usable again.
        """
        # Not inference mode: a model that caches tensors in its buffers (dynamic rotary
        # frequencies) would keep inference tensors, which training then refuses.
        self._table.tick()
        with torch.no_grad():
            self._admit()
            for group in self._to_prefill():
                self._prefill(group)
            ready = [slot for slot in self._table.active() if slot.pending == 1]
            if ready:
                self._decode(ready)
        return self._take_ended()

    def _take_ended(self) -> list[Ended]:
        ended, self._ended = self._ended, []
        return ended

    def _empty_cache(self) -> SlotCache:
        return SlotCache(self._model.config.get_text_config().num_hidden_layers, self._slots)

    def _to_prefill(self) -> list[list[Slot]]:
        """Return the prefill passes of this step.

        A pass for one slot costs about as much as a decode step for all, so when turns trickle
        in, the first of them waits a few steps for company.
        """
        active = self._table.active()
        pending = [slot for slot in active if slot.pending > 1]
        longest_wait = max((self._table.waited(slot) for slot in pending), default=0)
        if len(pending) * 8 < len(active) and longest_wait < COMPANY:
            return []
        return prefill_passes(pending)

    def _admit(self) -> None:
        left: deque[Turn] = deque()
        copies: list[Copy] = []
        while self._waiting and self._table.idle:
            turn = self._waiting.popleft()
            if not self._take_in(turn, copies):
                left.append(turn)
        self._waiting.extendleft(reversed(left))
        if copies:
            sources, targets, lengths = zip(*copies, strict=True)
            self._cache.reserve(max(targets) + 1, max(lengths))
            self._cache.copy(sources, targets, max(lengths))
            self._copied += sum(lengths)

    def _take_in(self, turn: Turn, copies: list[Copy]) -> bool:
        slot = self._table.of(turn.request.episode)
        if slot is not None:
            if slot.turn is not None:
                return False
            self._table.resume(slot, turn)
            return True
        twin = self._table.twin(turn.prompt)
        wanted = len(turn.prompt) - 1
        if twin is not None and twin.cached < wanted:
            return False  # the twin reads the prompt in this step; in the next, this one copies
        slot = self._table.admit(turn)
        if slot is None:
            return False
        if twin is not None:
            # Also right when the twin was evicted just now: its row still holds the prompt,
            # and all copies are read before the first is written.
            copies.append(Copy(twin.index, slot.index, wanted))
            slot.cached = wanted
        return True

    def _prefill(self, slots: Sequence[Slot]) -> None:
        device = self._device()
        starts = [slot.cached for slot in slots]
        longest = max(slot.pending for slot in slots)
        padded = [slot.ids[slot.cached :] + [0] * (longest - slot.pending) for slot in slots]
        self._cache.reserve(max(slot.index for slot in slots) + 1, max(starts) + longest)
        columns = torch.tensor(starts, device=device)[:, None] + torch.arange(
            longest, device=device
        )
        fresh = not any(starts)
        read = None if fresh else max(len(slot.ids) for slot in slots)
        indices = torch.tensor([slot.index for slot in slots], device=device)
        lasts = [slot.pending - 1 for slot in slots]
        keep = sorted(set(lasts))
        logits = self._forward(
            torch.tensor(padded, device=device),
            Pass(indices, columns, read, in_order=False),
            torch.tensor(keep, device=device),
        )
        self._prefilled += sum(slot.pending for slot in slots)
        rows = torch.arange(len(slots), device=device)
        at = torch.tensor([keep.index(last) for last in lasts], device=device)
        self._sample(slots, logits[rows, at])

    def _decode(self, slots: Sequence[Slot]) -> None:
        slots = self._gather(slots)
        device = self._device()
        rows = slots[-1].index + 1
        # Rows between the slots that nobody waits for take part as well, which costs less than
        # leaving them out. What they write lies after their own end, where it harms nobody.
        tokens, columns = [0] * rows, [0] * rows
        for index in range(rows):
            slot = self._table.at(index)
            if slot is not None:
                columns[index] = slot.cached
                tokens[index] = slot.ids[-1]
        self._cache.reserve(rows, max(columns) + 1)
        logits = self._forward(
            torch.tensor(tokens, device=device)[:, None],
            Pass(
                torch.arange(rows, device=device),
                torch.tensor(columns, device=device)[:, None],
                max(len(slot.ids) for slot in slots),
                in_order=True,
            ),
            torch.tensor([0], device=device),
        )[:, 0]
        if len(slots) < rows:
            logits = logits[torch.tensor([slot.index for slot in slots], device=device)]
        self._sample(slots, logits)

    def _gather(self, slots: Sequence[Slot]) -> list[Slot]:
        """Move the slots to the front when too many others lie between them; by index."""
        count = len(slots)
        if slots[-1].index + 1 - count <= count // 8:
            return list(slots)
        wanted = {slot.index for slot in slots}
        holes = [index for index in range(count) if index not in wanted]
        strays = [slot.index for slot in slots if slot.index >= count]
        moves = list(zip(strays, holes, strict=True)) + list(zip(holes, strays, strict=True))
        occupants = [self._table.at(index) for index in holes + strays]
        positions = max(slot.cached for slot in occupants if slot is not None)
        sources, targets = zip(*moves, strict=True)
        self._cache.reserve(max(strays) + 1, positions)
        self._cache.copy(sources, targets, positions)
        self._table.permute(moves)
        return sorted(slots, key=lambda slot: slot.index)

    def _forward(self, tokens: Tensor, plan: Pass, keep: Tensor) -> Tensor:
        """Return the logits (rows, kept, vocabulary) after the query positions of `keep`."""
        self._cache.begin(plan)
        self._passes += 1
        mask = None
        if plan.read is not None:
            seen = torch.arange(plan.read, device=tokens.device)
            mask = (seen <= plan.columns[..., None])[:, None]  # (rows, 1, queries, read)
            if self._model.config._attn_implementation == "eager":
                dtype = self._model.dtype
                hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=mask.device)
                mask = torch.where(mask, hidden.new_zeros(()), hidden)
        with attending_in_groups(self._model):
            output = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=plan.columns.clamp(max=self._max_length - 1),
                use_cache=True,
                logits_to_keep=keep,
                **{self._cache_argument: self._cache},
            )
        logits: Tensor = output.logits
        return logits

    def _sample(self, slots: Sequence[Slot], logits: Tensor) -> None:
        turns = [slot.turn for slot in slots if slot.turn is not None]
        drawn = draw(
            logits,
            [turn.request.sampling for turn in turns],
            [turn.random.random() for turn in turns],
        )
        self._sampled += len(turns)
        for slot, turn, token, logprob in zip(slots, turns, *drawn, strict=True):
            result = self._append(slot, turn, token, logprob)
            if result is not None:
                self._ended.append(Ended(turn, result))

    def _append(
        self, slot: Slot, turn: Turn, token: int, logprob: float
    ) -> Generation | InfrastructureError | None:
        if not math.isfinite(logprob):
            self._table.remove(slot)
            self._cache.clear(slot.index)  # not-a-numbers would spread to whoever comes next
            return InfrastructureError("the model's logits are not finite numbers")
        slot.cached = len(slot.ids)
        slot.ids.append(token)
        turn.ids.append(token)
        turn.logprobs.append(logprob)
        request = turn.request
        if token in request.stop_ids or turn.stop.completed(turn.ids):
            self._table.pause(slot)
            return Generation(turn.ids, turn.logprobs, "stop")
        if len(turn.ids) >= request.max_tokens or len(slot.ids) >= self._max_length:
            self._table.pause(slot)
            return Generation(turn.ids, turn.logprobs, "length")
        return None

    def _device(self) -> torch.device:
        device: torch.device = self._model.get_input_embeddings().weight.device
        return device
