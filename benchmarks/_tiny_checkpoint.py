"""A checkpoint made from nothing: random weights, and a tokenizer of the words it will read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from qwq_env.training.tiny.chat_template import qwq_chat_template
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.training.tiny.tokenizer import MARKUP_TOKENS, SPECIAL_TOKENS

_VOCABULARY = 4096
_CONTEXT = 16_384


def tiny_checkpoint(folder: Path, texts: Iterable[str]) -> Path:
    """Write the checkpoint into `folder` and return it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[*SPECIAL_TOKENS, *MARKUP_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = qwq_chat_template()
    build_tiny_model(tokenizer, context=_CONTEXT).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
