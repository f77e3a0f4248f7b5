"""Cut a long text to a cap and keep its head and its tail, where the news usually stands."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Tokenizer(Protocol):
    """The two methods that counting and cutting by tokens need."""

    def encode(self, text: str, /) -> list[int]:
        """Return the token ids of `text`, no control tokens added."""

    def decode(self, ids: list[int], /) -> str:
        """Return the text of `ids`."""


class Cut(NamedTuple):
    """A text within its cap, and how many characters of the original it lacks."""

    text: str
    characters: int


def cut_characters(text: str, limit: int) -> Cut:
    """Keep at most `limit` characters of `text`: two thirds from the head, the rest the tail.

    A note in the middle says how much is gone; it is not counted against `limit`.
    """
    if len(text) <= limit:
        return Cut(text, 0)
    tail = limit // 3
    return _join(text, text[: limit - tail], text[len(text) - tail :])


def cut_tokens(text: str, limit: int, tokenizer: Tokenizer) -> Cut:
    """Keep at most `limit` tokens of `text`, head and tail; the note is not counted."""
    if len(text) <= limit:
        # A token holds at least one character in every vocabulary worth the name.
        return Cut(text, 0)
    ids = tokenizer.encode(text)
    if len(ids) <= limit:
        return Cut(text, 0)
    tail = limit // 3
    head_text = tokenizer.decode(ids[: limit - tail])
    tail_text = tokenizer.decode(ids[len(ids) - tail :]) if tail else ""
    # A cut inside a character decodes to U+FFFD; better without it than wrong.
    return _join(text, head_text.rstrip("\ufffd"), tail_text.lstrip("\ufffd"))


def _join(text: str, head: str, tail: str) -> Cut:
    gone = len(text) - len(head) - len(tail)
    return Cut(f"{head}\n... [{gone} characters cut] ...\n{tail}", gone)
