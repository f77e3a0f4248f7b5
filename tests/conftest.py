"""Parts that many tests use: a tokenizer that can write anything, and a codec on it."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest

from .byte_tokenizer import byte_tokenizer
from .qwen_tokenizer import qwen_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer, one token a byte, with the control tokens of QwQ."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def codec(tokenizer):
    from qwq_env.dialect.codec import TokenCodec

    return TokenCodec(tokenizer)


@pytest.fixture(scope="session")
def qwen():
    """Qwen2.5's and QwQ's real vocabulary; skips where `dashscope`, which has it, is missing."""
    tokenizer = qwen_tokenizer()
    if tokenizer is None:
        pytest.skip("Qwen's vocabulary is not here: pip install --no-deps dashscope")
    return tokenizer
