"""Off-policy training in one process: the sampler's weights lie some steps behind.

An asynchronous trainer learns from what older weights sampled; how far behind they are hangs on
the speed of its servers. Here the distance is set, so that what it does, and what cures it, can be
studied on a laptop: step t is played by the weights of step t - `steps` (of step 0 until there are
so many). Memory: `steps` + 1 copies of the weights besides the trainer's.
"""

from __future__ import annotations

import copy
from collections import deque
from pathlib import Path
from typing import Any, Final

import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.errors import UsageError
from qwq_env.rollout.transformers_policy import TransformersPolicy
from qwq_env.training.weights.base import Pushed, WeightSync

_FILE: Final = "stale_weights.pt"


class StalePolicy(TransformersPolicy):
    """Samples from a copy of the model, whose weights are older than the trainer's."""

    elsewhere = True


class StaleWeights(WeightSync):
    """Makes the sampler, `policy`, and gives it the weights of `steps` steps ago.

    For a model that lies whole in each process. What is behind is kept with each checkpoint
    (`write`, `read`), so that a run that goes on samples from what it would have.
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise UsageError(f"staleness: {steps}; expected 1 or more")
        self._behind: deque[tuple[int, dict[str, torch.Tensor]]] = deque(maxlen=steps + 1)
        self._model: Any = None

    def policy(self, trainer: Any) -> StalePolicy:
        """Return the sampler; the `policy` of `Rollouts`."""
        self._model = copy.deepcopy(trainer.accelerator.unwrap_model(trainer.model))
        for part in self._model.modules():
            # TRL puts its own in the model's place, which a copy would share: that of the trainer.
            vars(part).pop("forward", None)
        return StalePolicy(self._model, TokenCodec(trainer.processing_class))

    def push(self, trainer: Any) -> Pushed:
        """Keep the weights of this step, and let the sampler have the oldest that are kept."""
        current = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        kept = {name: value.detach().clone() for name, value in current.items()}
        self._behind.append((trainer.state.global_step, kept))
        version, weights = self._behind[0]
        self._model.load_state_dict(weights)
        return Pushed(version, 0.0, 0, ())

    def write(self, checkpoint: Path) -> None:
        """Write what is behind into the folder of a checkpoint."""
        torch.save(list(self._behind), checkpoint / _FILE)

    def read(self, checkpoint: Path) -> None:
        """Go on with what was behind. Raises `UsageError` for a checkpoint that has none."""
        try:
            kept = torch.load(checkpoint / _FILE, weights_only=True)
        except OSError as error:
            raise UsageError(f"run: {checkpoint / _FILE}: {error.strerror}") from None
        self._behind.extend(kept)
