"""Notice that the text sampled contains a stop string, at the token that completes it.

Decoding the whole text after every token would cost more than a small model's forward pass.
Most tokens cannot complete a stop string: their own text lacks its last character. Only for
the others is the tail decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_REPLACEMENT = "\ufffd"
"""How a token that is part of a character decodes."""


class Decoder(Protocol):
    """Turns token ids into text; `TokenCodec` is one."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens included."""
        ...


class StopStrings:
    """Watches for a fixed set of strings. Keep one for each set: it remembers the tokens."""

    def __init__(self, strings: tuple[str, ...], decoder: Decoder) -> None:
        self._strings = tuple(filter(None, strings))
        self._decoder = decoder
        self._ends = {string[-1] for string in self._strings}
        # A character has at most four bytes, and a token at least one. A few more tokens, since
        # a byte more than the string may come before it in the tail's first character.
        self._tail = 4 * max(map(len, self._strings), default=0) + 4
        self._candidates: dict[int, bool] = {}

    def completed(self, ids: Sequence[int]) -> bool:
        """Say whether the last of the sampled `ids` completes a stop string."""
        if not self._strings or not self._may_complete(ids[-1]):
            return False
        text = self._decoder.decode(ids[-self._tail :])
        return any(string in text for string in self._strings)

    def _may_complete(self, token: int) -> bool:
        known = self._candidates.get(token)
        if known is None:
            text = self._decoder.decode([token])
            known = _REPLACEMENT in text or any(end in text for end in self._ends)
            self._candidates[token] = known
        return known
