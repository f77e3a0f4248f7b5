"""Parts that many tests use: a tokenizer that can write anything, and a codec on it."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest

from .qwen_tokenizer import qwen_tokenizer

CONTROL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>",
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer, one token a byte, with the control tokens of QwQ."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE({letter: i for i, letter in enumerate(alphabet)}, [])
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(list(CONTROL))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


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
