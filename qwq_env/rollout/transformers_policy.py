"""A policy that samples from a Hugging Face causal language model in this process.

Many episodes call `generate` at once; a thread of its own runs the forward passes, so that the
event loop stays free for tools. Turns join and leave the running batch between any two tokens,
and an episode's keys and values are kept from turn to turn. From `generate` to a token:

1. `TransformersPolicy.generate` hands a `Turn` to the thread and waits for its future;
2. `Decoding.step` takes it into a slot, reads what is new of its context, samples;
3. `SlotCache` keeps keys and values; `draw` draws the token; `StopStrings` looks for the end;
4. the thread hands what has ended back to the event loop that asked.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.tensor import DTensor

from qwq_env.errors import UsageError
from qwq_env.rollout.decoding import Decoding, Statistics
from qwq_env.rollout.decoding_thread import DecodingThread
from qwq_env.rollout.policy import Generation, GenerationRequest, Policy
from qwq_env.rollout.rotary import check_rotation
from qwq_env.rollout.slots import Turn
from qwq_env.rollout.stop_strings import Decoder, StopStrings
from qwq_env.rollout.weight_layout import laid_out_for_decoding


class TransformersPolicy(Policy):
    """Samples from `model`, which it shares with whoever trains it.

    Memory for keys and values grows with use, up to `slots` × the longest context in the batch.
    `max_length` bounds context plus new tokens; by default it is the model's own limit.

    The keys and values are those of the weights that made them. Enclose each rollout in
    `generating`, or call `invalidate` after the weights have changed; else old and new are
    mixed. Do not train while a turn is under way: the model is in evaluation mode until it ends.

    Works for decoders whose layers all attend to the whole context, with `sdpa` or `eager`
    attention, on any device; weights must be whole in this process (not sharded).
    """

    def __init__(
        self, model: Any, codec: Decoder, *, slots: int = 64, max_length: int | None = None
    ) -> None:
        """Wrap a model. Raises `UsageError` for one that cannot be served, or a bad limit."""
        config = model.config.get_text_config()
        if max_length is None:
            max_length = config.max_position_embeddings
        if slots < 1:
            raise UsageError(f"slots: {slots!r}; expected 1 or more")
        if not 1 < max_length <= config.max_position_embeddings:
            most = config.max_position_embeddings
            raise UsageError(f"max_length: {max_length!r}; expected 2 to {most}, the model's limit")
        _check_attention(config, max_length)
        check_rotation(config, max_length)
        _check_whole(model)
        if model.device.type == "cuda":
            # It makes a plan for each new length, which takes longer than a step of decoding.
            torch.backends.cuda.enable_cudnn_sdp(False)
        self._model = model
        self._codec = codec
        self._vocabulary: int = config.vocab_size
        self._max_length = max_length
        self._decoding = Decoding(model, slots, max_length)
        self._stop_strings: dict[tuple[str, ...], StopStrings] = {}
        self._thread = DecodingThread(self._decoding)
        self._mode = threading.Lock()
        self._evaluations = 0
        self._was_training: list[Any] = []

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn.

        A context of `max_length` or more ends at once with no token and reason "length".
        Turns of one episode run one after another. Raises `UsageError` for an empty context,
        an id outside the vocabulary, or `max_tokens` < 1; `InfrastructureError` when the forward
        pass failed (the policy stays usable) or its logits are not finite.
        """
        self._check(request)
        if len(request.ids) >= self._max_length:
            return Generation([], [], "length")
        loop = asyncio.get_running_loop()
        turn = Turn(
            request,
            tuple(request.ids),
            loop,
            loop.create_future(),
            self._stopper(request.stop_strings),
            random.Random(request.seed),
        )
        with self._evaluating():
            self._thread.post(partial(self._decoding.submit, turn))
            try:
                return await turn.future
            except asyncio.CancelledError:
                self._thread.post(partial(self._decoding.cancel, turn))
                raise

    def differs_from(self, model: Any) -> bool:
        """Whether the weights that it samples from are others than the model's, such as a copy."""
        trained = {id(weight) for weight in model.parameters()}
        return any(id(weight) not in trained for weight in self._model.parameters())

    async def context(self) -> int:
        """Return `max_length`."""
        return self._max_length

    async def release(self, episode: str) -> None:
        """Give the slot of an ended episode to others."""
        self._thread.post(partial(self._decoding.release, episode))

    def invalidate(self) -> None:
        """Drop all keys and values and their memory; call it after the weights have changed.

        Returns when it is done. A turn under way goes on, on a context read anew.
        """
        done = threading.Event()
        self._thread.post(self._decoding.invalidate)
        self._thread.post(done.set)
        done.wait()

    async def aclose(self) -> None:
        """Drop all keys and values. The policy can still be used."""
        await asyncio.to_thread(self.invalidate)

    def statistics(self) -> Statistics:
        """Return counts of tokens and passes, to see what caching and batching save."""
        return self._decoding.statistics()

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Enclose a rollout: the weights stay as they are within, and may change after.

        The model is held in evaluation mode throughout, and is afterwards as it was; at the end
        every key and value is dropped, so that training has the memory. On a CPU the weights are
        laid out for it as well, see `weight_layout`. Without it `generate` still holds evaluation
        mode for itself, and `invalidate` is the caller's to call.
        """
        with self._evaluating(), laid_out_for_decoding(self._model):
            try:
                yield
            finally:
                self.invalidate()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Hold evaluation mode; in training mode, gradient checkpointing ignores the cache."""
        with self._mode:
            self._evaluations += 1
            if self._evaluations == 1:
                self._was_training = [part for part in self._model.modules() if part.training]
                for part in self._was_training:
                    part.training = False
        try:
            yield
        finally:
            with self._mode:
                self._evaluations -= 1
                if self._evaluations == 0:
                    for part in self._was_training:
                        part.training = True
                    self._was_training = []

    def _check(self, request: GenerationRequest) -> None:
        if request.max_tokens < 1:
            raise UsageError(f"max_tokens: {request.max_tokens!r}; expected 1 or more")
        if not request.ids:
            raise UsageError("ids: empty; expected at least one token to continue")
        if min(request.ids) < 0 or max(request.ids) >= self._vocabulary:
            worst = max(request.ids) if min(request.ids) >= 0 else min(request.ids)
            raise UsageError(f"ids: {worst}; expected ids from 0 to {self._vocabulary - 1}")

    def _stopper(self, strings: tuple[str, ...]) -> StopStrings:
        if strings not in self._stop_strings:
            self._stop_strings[strings] = StopStrings(strings, self._codec)
        return self._stop_strings[strings]


def _check_attention(config: Any, max_length: int) -> None:
    implementation = config._attn_implementation
    if implementation not in ("sdpa", "eager"):
        raise UsageError(f"attn_implementation: {implementation!r}; expected 'sdpa' or 'eager'")
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if window is not None and not hasattr(config, "layer_types"):
        kinds = {"sliding_attention"}
    if window is not None and window >= max_length:
        kinds.discard("sliding_attention")
    if kinds - {"full_attention"}:
        raise UsageError(
            f"model: layers of {', '.join(sorted(kinds))}; expected layers that attend to the "
            f"whole of max_length {max_length}"
        )


def _check_whole(model: Any) -> None:
    """Raise `UsageError` for weights of which this process has a part only.

    Each forward pass would gather them from all processes, which decode different numbers of
    tokens: they would read each other's weights, or wait for ever.
    """
    parts = [name for name, module in model.named_modules() if isinstance(module, FSDP)]
    sharded = dict.fromkeys(parts, "FSDP")
    for name, weight in model.named_parameters():
        if isinstance(weight, DTensor):
            sharded[name] = "FSDP2 or tensor parallelism"
        elif hasattr(weight, "ds_id"):
            sharded[name] = "DeepSpeed ZeRO-3"
    if sharded:
        name, how = next(iter(sharded.items()))
        raise UsageError(
            f"model: {name or 'the whole'} is sharded ({how}); expected whole weights to sample"
            " from in this process: sample from servers (VllmPolicy), or train with DDP or ZeRO up"
            " to 2"
        )
