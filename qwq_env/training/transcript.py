"""A whole episode as text with its authors, and as token ids with the mask to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from qwq_env.dialect.base import Piece, text_of
from qwq_env.dialect.codec import TokenCodec

Author = Literal["task", "model", "tool", "user"]


class Part(NamedTuple):
    """A stretch of one author: a prompt, a model's turn, what the tools answered or a user said."""

    pieces: tuple[Piece, ...]
    author: Author


class Encoded(NamedTuple):
    """`ids` (tokens,), and `mask` (tokens,): 1 exactly where the model wrote."""

    ids: list[int]
    mask: list[int]


@dataclass(frozen=True, slots=True)
class Transcript:
    """The parts of an episode in order; their texts, joined, are what was said."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All parts as one text."""
        return "".join(text_of(part.pieces) for part in self.parts)

    def encode(self, codec: TokenCodec) -> Encoded:
        """Encode part by part, as an episode is: no token spans two authors."""
        ids: list[int] = []
        mask: list[int] = []
        for part in self.parts:
            encoded = codec.encode_pieces(part.pieces)
            ids += encoded
            mask += [int(part.author == "model")] * len(encoded)
        return Encoded(ids, mask)
