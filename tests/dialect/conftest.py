"""A small tokenizer for the tests of dialects, made as Qwen's is."""

from __future__ import annotations

from typing import Any

import pytest

from ..qwen_tokenizer import build


@pytest.fixture(scope="session")
def small() -> Any:
    """A byte-level BPE trained on a few lines."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(
        ["What is 2+2? The tool says <|im_end|> <think> </tool_call> user assistant"] * 9, trainer
    )
    return build(trained.model)
