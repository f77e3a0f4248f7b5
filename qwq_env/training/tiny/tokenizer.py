"""A tokenizer for the tiny policy: bytes, phrases and control tokens, a few hundred in all.

It is a `Qwen2Tokenizer` with Qwen2's own pre-tokenizer and normalizer, because `AutoTokenizer`
puts these in the place of any others as soon as the model is a Qwen2. Merges cannot cross the
words of that pre-tokenizer; phrases therefore are added tokens (not special, matched in
normalized text), which survive `save_pretrained` and `AutoTokenizer.from_pretrained` unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, pre_tokenizers
from transformers import Qwen2Tokenizer

from qwq_env.dialect.base import text_of
from qwq_env.training.tiny.chat_template import qwq_chat_template
from qwq_env.training.tiny.phrases import constant_phrases
from qwq_env.training.transcript import Transcript

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP_TOKENS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
_PHRASES = 256


def build_tiny_tokenizer(samples: Sequence[Transcript], *, words: bool = False) -> Any:
    """Return a tokenizer whose vocabulary holds what is constant in `samples` as single tokens.

    `samples` are episodes as they will be (some hundreds, on different tasks). Any other Unicode
    text is encoded byte by byte, without loss. At most 256 such tokens stand beside the bytes and
    the control tokens. With `words` they are single words, which other tasks have as well, and what
    stands in every sample.
    """
    control = (*SPECIAL_TOKENS, *MARKUP_TOKENS)
    texts = [[text_of(part.pieces) for part in sample.parts] for sample in samples]
    found = constant_phrases(texts, control, _PHRASES, words=words)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *found])}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_tokens([AddedToken(phrase, normalized=True, special=False) for phrase in found])
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
    )
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=False) for token in MARKUP_TOKENS]
    )
    tokenizer.chat_template = qwq_chat_template()
    return tokenizer
