"""How training samples: from the policy's own distribution, at a temperature, nothing filtered.

A filter (top-p, top-k, min-p, a penalty) renormalizes: what is left gets more than the policy gave
it. A trainer weighs each token by its probability in training over that in sampling, and computes
the first without the filter. For a policy that has not changed at all the ratio is then not 1 but
what the filter kept (0.5 at top-p 0.5), and every gradient is off by it. Evaluation may filter.
"""

from __future__ import annotations

from typing import Any

from qwq_env.chat_model import Sampling
from qwq_env.errors import UsageError, brief

_UNFILTERED = (
    "expected it off in training: importance correction knows no filter, so the ratio of an"
    " unchanged policy would not be 1; set it to %s (or, in GRPOConfig,"
    " vllm_importance_sampling_correction=False)"
)
# What GRPOConfig has besides, the values that mean nothing, and what is not one of them is for
# TRL's own sampling: our policies would leave it out without a word.
_TRL_ONLY: dict[str, tuple[Any, ...]] = {
    "min_p": (None, 0),
    "repetition_penalty": (None, 1),
    "generation_kwargs": (None, {}),
    "vllm_structured_outputs_regex": (None,),
}


def training_sampling(temperature: float, top_p: float = 1.0, top_k: int = 0) -> Sampling:
    """Return the sampling of a training run. Raises `UsageError` for a filter, and for greed."""
    sampling = Sampling(temperature, top_p, top_k)
    if temperature == 0:
        raise UsageError("temperature: 0; expected more in training: a greedy policy tries nothing")
    if sampling.top_p != 1:
        raise UsageError(f"top_p: {brief(top_p)}; {_UNFILTERED % 1.0}")
    if sampling.top_k:
        raise UsageError(f"top_k: {brief(top_k)}; {_UNFILTERED % 0}")
    return sampling


def sampling_of(arguments: Any) -> Sampling:
    """Return the sampling of a `GRPOConfig`.

    Raises `UsageError` for what `Rollouts` does not have, and for a filter unless the correction is
    switched off by name (`vllm_importance_sampling_correction=False`).
    """
    for name, meaningless in _TRL_ONLY.items():
        if (value := getattr(arguments, name, None)) not in meaningless:
            raise UsageError(
                f"{name}: {brief(value)}; Rollouts has no such sampling; leave it unset"
            )
    # -1 is how vLLM writes it.
    top_k = 0 if arguments.top_k in (None, -1) else arguments.top_k
    if arguments.vllm_importance_sampling_correction:
        return training_sampling(arguments.temperature, arguments.top_p, top_k)
    training_sampling(arguments.temperature)
    return Sampling(arguments.temperature, arguments.top_p, top_k)
