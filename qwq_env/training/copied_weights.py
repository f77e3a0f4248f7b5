"""Sampling in this process from a copy of the policy: in another precision, or of older weights.

Two reasons to sample from a copy:

- Where there are instructions for it (on a CPU: AVX512-BF16, AMX) a large model samples about
  twice as fast in bfloat16, and what it learns is lost if its own weights are.
- An asynchronous trainer learns from what older weights sampled; how far behind they are hangs on
  the speed of its servers. Here the distance is set, so that what it does, and what cures it, can
  be studied on a laptop: step t is played by the weights of step t - `behind` (of step 0 until
  there are so many).

Either way what sampled is not what is trained, and importance is corrected.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.placement import computed_in, weights_in
from qwq_env.training.recipe import Recipe
from qwq_env.training.weights.base import Pushed, WeightSync

_FILE: Final = "stale_weights.pt"


class CopiedWeights(WeightSync):
    """Makes the sampler, `policy`, and brings it the weights of `behind` steps ago as `dtype`.

    For a model that lies whole in each process; each has a copy of its own, so nothing is
    collective. Memory: the copy, and `behind` + 1 times its weights where it lies behind. Those
    are kept with each checkpoint (`write`, `read`), so that a run that goes on samples from what it
    would have.
    """

    def __init__(
        self, *, dtype: torch.dtype | None = None, behind: int = 0, slots: int = 64
    ) -> None:
        """Without `dtype` the copy has the model's own; it samples `slots` turns at a time."""
        if behind < 0:
            raise UsageError(f"behind: {behind}; expected 0 or more")
        self.dtype, self.behind, self.slots = dtype, behind, slots
        self._kept: deque[tuple[int, dict[str, torch.Tensor]]] = deque(maxlen=behind + 1)
        self._model: Any = None

    def policy(self, trainer: Any) -> TransformersPolicy:
        """Return the sampler; the `policy` of `Rollouts`."""
        self._model = copy_of(trainer.accelerator.unwrap_model(trainer.model), self.dtype)
        codec = TokenCodec(trainer.processing_class)
        return TransformersPolicy(self._model, codec, slots=self.slots)

    def push(self, trainer: Any) -> Pushed:
        """Keep the weights of this step, and let the sampler have the oldest that are kept."""
        began, version = time.perf_counter(), trainer.state.global_step
        trained = trainer.accelerator.unwrap_model(trainer.model)
        weights = {name: weight.detach() for name, weight in trained.named_parameters()}
        if self.behind:
            kept = {
                name: weight.to(self.dtype or weight.dtype, copy=True)
                for name, weight in weights.items()
            }
            self._kept.append((version, kept))
            version, weights = self._kept[0]
        size = 0
        with torch.no_grad():
            for name, own in self._model.named_parameters():
                own.copy_(weights[name])
                size += own.nbytes
        return Pushed(version, time.perf_counter() - began, size, ())

    def write(self, checkpoint: Path) -> None:
        """Write what is behind, if anything is, into the folder of a checkpoint."""
        if self.behind:
            torch.save(list(self._kept), checkpoint / _FILE)

    def read(self, checkpoint: Path) -> None:
        """Go on with what was behind. Raises `UsageError` for a checkpoint that has none."""
        if not self.behind:
            return
        try:
            kept = torch.load(checkpoint / _FILE, weights_only=True, map_location="cpu")
        except OSError as error:
            raise UsageError(f"run: {checkpoint / _FILE}: {error.strerror}") from None
        self._kept.extend(kept)


def copied_weights(recipe: Recipe) -> CopiedWeights | None:
    """Return what samples a copy in training, as the recipe says; None if the model itself does."""
    dtype, behind = _sampled_as(recipe), recipe.rollout.staleness
    if dtype is None and not behind:
        return None
    return CopiedWeights(dtype=dtype, behind=behind, slots=recipe.rollout.slots)


def sampling_from(model: Any, codec: TokenCodec, recipe: Recipe) -> TransformersPolicy:
    """Return a policy on `model`, or on a copy of it in the type that the recipe samples in."""
    dtype = _sampled_as(recipe)
    sampled = model if dtype is None else copy_of(model, dtype)
    return TransformersPolicy(sampled, codec, slots=recipe.rollout.slots)


def copy_of(model: Any, dtype: torch.dtype | None = None) -> Any:
    """Return a copy of a model in evaluation mode, its weights as `dtype` and without gradients.

    Buffers stay in their type: the frequencies of rotary positions, rounded to bfloat16, would turn
    a token at position 1000 by up to 2 radians.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    for part in copied.modules():
        # TRL puts its own in the model's place, which a copy would share: that of the trainer.
        vars(part).pop("forward", None)
    for weight in copied.parameters():
        weight.data = weight.data.to(dtype or weight.dtype)
    return copied


def _sampled_as(recipe: Recipe) -> torch.dtype | None:
    """Return the type to sample in if it is not that of the weights."""
    computed = computed_in(recipe)
    wanted = recipe.policy.sampling_dtype == "computed" and weights_in(recipe) is not computed
    return computed if wanted else None
