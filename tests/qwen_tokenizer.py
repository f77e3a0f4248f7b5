"""Tokenizers made as Qwen's is, and Qwen's own vocabulary where its package is installed."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
"""QwQ-32B's added tokens in the order of their ids, from 151643 on."""

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build(model: Any, added: list[Any] | None = None) -> Any:
    """Wrap a model as Qwen's tokenizer does: NFC, its own split, bytes."""
    import tokenizers
    from tokenizers import decoders, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    # As in the published checkpoint, the tags of calls and thoughts are added but not special.
    backend.add_tokens(
        added
        or [
            tokenizers.AddedToken(token, normalized=False, special="|" in token)
            for token in CONTROL
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def qwen_tokenizer() -> Any | None:
    """Return a tokenizer of Qwen2.5's and QwQ's real vocabulary, None without `dashscope`.

    That package carries the ranks; made of them once, the tokenizer is kept on disk.
    """
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    found = importlib.util.find_spec("dashscope")
    if found is None or found.origin is None:
        return None
    cached = Path(tempfile.gettempdir()) / f"qwq-env-{os.getuid()}-qwen" / "tokenizer.json"
    if not cached.exists():
        ranks = _read_ranks(Path(found.origin).parent / "resources" / "qwen.tiktoken")
        letters = _letters_of_bytes()
        vocabulary = {_spell(token, letters): rank for token, rank in ranks.items()}
        merges = [
            (_spell(left, letters), _spell(right, letters))
            for token in sorted(ranks, key=ranks.__getitem__)
            if len(token) > 1
            for left, right in [_halves(token, ranks)]
        ]
        tokenizer = build(models.BPE(vocab=vocabulary, merges=merges))
        cached.parent.mkdir(exist_ok=True)
        fresh = cached.with_suffix(f".{os.getpid()}")
        tokenizer.backend_tokenizer.save(str(fresh))
        fresh.replace(cached)
    return PreTrainedTokenizerFast(
        tokenizer_file=str(cached), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Return each token's bytes with its id."""
    lines = (line.split() for line in path.read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    assert len(ranks) == 151_643
    return ranks


def _halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that merge into `token`, by merging its bytes as long as possible."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in itertools.pairwise(parts)]
        best = pairs.index(min(pairs))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def _letters_of_bytes() -> dict[int, str]:
    """Return the letter by which byte-level vocabularies write each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    return letters | {byte: chr(256 + index) for index, byte in enumerate(others)}


def _spell(token: bytes, letters: dict[int, str]) -> str:
    return "".join(letters[byte] for byte in token)
