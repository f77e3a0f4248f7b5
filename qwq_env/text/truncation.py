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
    return _join(text, *_ends(text, limit))


def cut_tokens(
    text: str, limit: int, tokenizer: Tokenizer, *, characters: int | None = None
) -> Cut:
    """Keep at most `limit` tokens of `text`, head and tail, and at most `characters`.

    The note is not counted. A character of which only a part is within the cap is left out.
    """
    head, tail = text, ""
    if characters is not None and len(text) > characters:
        head, tail = _ends(text, characters)
    kept = len(head) + len(tail)
    # In the byte-level vocabularies a token holds at least one byte, not one character.
    if len(head.encode()) + len(tail.encode()) > limit:
        head, tail = _end_tokens(head, tail, limit, tokenizer)
    if len(head) + len(tail) == kept == len(text):
        return Cut(text, 0)
    return _join(text, head, tail)


def _ends(text: str, limit: int) -> tuple[str, str]:
    tail = limit // 3
    return text[: limit - tail], text[len(text) - tail :]


def _end_tokens(head: str, tail: str, limit: int, tokenizer: Tokenizer) -> tuple[str, str]:
    head_ids = tokenizer.encode(head)
    tail_ids = tokenizer.encode(tail) if tail else []
    if len(head_ids) + len(tail_ids) <= limit:
        return head, tail
    if not tail:
        tail, tail_ids = head, head_ids
    share = limit // 3
    # Lengths rather than the decoded texts: what is kept must be verbatim, and a token that
    # holds part of a character decodes to U+FFFD.
    start = len(tokenizer.decode(head_ids[: limit - share]).rstrip("\ufffd"))
    end = len(tokenizer.decode(tail_ids[len(tail_ids) - share :]).lstrip("\ufffd")) if share else 0
    return head[:start], tail[max(0, len(tail) - end) :]


def _join(text: str, head: str, tail: str) -> Cut:
    gone = len(text) - len(head) - len(tail)
    return Cut(f"{head}\n... [{gone} characters cut] ...\n{tail}", gone)
