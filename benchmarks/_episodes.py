"""What several benchmarks share: a tokenizer that writes anything, a stock trainer on CPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

from byte_tokenizer import byte_tokenizer as byte_tokenizer


def trainer_settings(folder: Path, **changes: Any) -> Any:
    """Return a `GRPOConfig` for one step on CPU, with `changes`."""
    from trl import GRPOConfig

    settings: dict[str, Any] = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "report_to": [],
        "disable_tqdm": True, "save_strategy": "no", "max_steps": 1, "beta": 0.0,
        "logging_steps": 1, "gradient_checkpointing": False, "dataloader_pin_memory": False,
    }  # fmt: skip
    return GRPOConfig(**{**settings, **changes})
