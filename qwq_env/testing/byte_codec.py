"""A codec without a tokenizer: a byte is a token, and each control text one more.

It needs no package, so that every environment can be played on tokens in any test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from qwq_env.dialect.base import Piece
from qwq_env.dialect.codec import TokenCodec

CONTROL: Final = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>",
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
"""The control tokens of QwQ's vocabulary."""


class ByteCodec(TokenCodec):
    """Ids 0 to 255 are bytes of UTF-8; from 256 on, the `control` texts in their order."""

    def __init__(self, control: Sequence[str] = CONTROL) -> None:
        self._texts = list(dict.fromkeys([*CONTROL, *filter(None, control)]))
        self.control_ids = {text: 256 + place for place, text in enumerate(self._texts)}
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._parts = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self.eos_token_id = self.control_ids["<|im_end|>"]
        self.pad_token_id = self.control_ids["<|endoftext|>"]

    def encode(self, text: str) -> list[int]:
        """Return the bytes of foreign text."""
        return list(text.encode("utf-8", "replace"))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control texts included."""
        parts: list[bytes] = []
        for token in ids:
            parts.append(bytes([token]) if token < 256 else self._texts[token - 256].encode())
        return b"".join(parts).decode("utf-8", "replace")

    def encode_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the ids of rendered pieces; only those that control become control tokens."""
        ids: list[int] = []
        for text, control in pieces:
            for part in self._parts.split(text) if control else [text]:
                known = self.control_ids.get(part) if control else None
                ids += self.encode(part) if known is None else [known]
        return ids
