"""Load a checkpoint to sample from, or to train, in this process."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwq_env.errors import UsageError, brief


def load_checkpoint(path: str, *, field: str = "policy.checkpoint") -> tuple[Any, Any]:
    """Load a causal model and its tokenizer. Raises `UsageError`, which names `field`, if there is
    none at `path`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        dtype = "auto" if torch.cuda.is_available() else torch.float32
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{field}: {brief(path)} is not a checkpoint: {reason}") from None
    return model, tokenizer
