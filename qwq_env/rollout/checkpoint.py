"""Load a checkpoint to sample from, or to train, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from qwq_env.errors import UsageError, brief
from qwq_env.rollout.checkpoint_folder import check_checkpoint


def load_checkpoint(
    path: str,
    *,
    field: str = "policy.checkpoint",
    device: torch.device | None = None,
    **loading: Any,
) -> tuple[Any, Any]:
    """Load a causal model and its tokenizer, on `device`, by default a GPU if there is one.

    `loading` is passed to `from_pretrained`; the `dtype` is by default the checkpoint's own on a
    GPU, and float32 without. Raises `UsageError`, which names `field`, if there is none at `path`,
    or the tokenizer is another model's.
    """
    cuda = torch.cuda.is_available()
    settings = {"dtype": "auto" if cuda else torch.float32, **loading}
    tokenizer = load_tokenizer_of(path, field=field)
    model = _loaded(lambda: AutoModelForCausalLM.from_pretrained(path, **settings), path, field)
    known = model.get_input_embeddings().num_embeddings
    if tokenizer.vocab_size > known:
        raise UsageError(
            f"{field}: {brief(path)}: its tokenizer has {tokenizer.vocab_size} tokens, its model"
            f" knows {known}; expected the tokenizer of this model"
        )
    return model.to(device or ("cuda" if cuda else "cpu")), tokenizer


def load_tokenizer_of(path: str, *, field: str = "policy.checkpoint") -> Any:
    """Load a checkpoint's tokenizer alone; see `load_checkpoint`."""
    check_checkpoint(path, field=field)
    return _loaded(lambda: AutoTokenizer.from_pretrained(path), path, field)


def _loaded(load: Callable[[], Any], path: str, field: str) -> Any:
    """Return what `load` loads; whatever is wrong with the files is a `UsageError`."""
    try:
        return load()
    except (MemoryError, torch.OutOfMemoryError):
        raise  # nothing is wrong with the files
    except Exception as error:  # noqa: BLE001 - whatever broken files make the libraries raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"{field}: {brief(path)} is not a checkpoint: {reason}") from None
