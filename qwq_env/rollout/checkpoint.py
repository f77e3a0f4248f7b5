"""Load a checkpoint to sample from, or to train, in this process."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwq_env.errors import UsageError, brief


def load_checkpoint(
    path: str,
    *,
    field: str = "policy.checkpoint",
    device: torch.device | None = None,
    **loading: Any,
) -> tuple[Any, Any]:
    """Load a causal model and its tokenizer, on `device`, by default a GPU if there is one.

    `loading` is passed to `from_pretrained`; the `dtype` is by default the checkpoint's own on a
    GPU, and float32 without. Raises `UsageError`, which names `field`, if there is none at `path`.
    """
    cuda = torch.cuda.is_available()
    settings = {"dtype": "auto" if cuda else torch.float32, **loading}
    tokenizer = load_tokenizer_of(path, field=field)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, **settings)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{field}: {brief(path)} is not a checkpoint: {reason}") from None
    return model.to(device or ("cuda" if cuda else "cpu")), tokenizer


def load_tokenizer_of(path: str, *, field: str = "policy.checkpoint") -> Any:
    """Load a checkpoint's tokenizer alone; see `load_checkpoint`."""
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{field}: {brief(path)} is not a checkpoint: {reason}") from None
