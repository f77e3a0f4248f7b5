"""The tokenizer of a checkpoint that lies in a folder; nothing is asked of a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError


def load_tokenizer(folder: Path, *, field: str = "model") -> Any:
    """Load a checkpoint's tokenizer. Raises `UsageError`, which names `field`, for a folder that
    holds none."""
    if not folder.is_dir():
        raise UsageError(f"{field}: {str(folder)!r} is no folder; expected a checkpoint's")
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise UsageError(f"{field}: {str(folder)!r} is no checkpoint: it has no tokenizer.json")
    try:
        from transformers import AutoTokenizer  # noqa: PLC0415 - heavy, and optional
    except ImportError:
        raise UsageError("transformers: not installed; pip install 'qwq-env[train]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - whatever a broken folder makes the library raise
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{field}: {str(folder)!r} holds no readable tokenizer: {reason}"
        ) from None
    return tokenizer
