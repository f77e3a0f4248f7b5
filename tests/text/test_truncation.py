from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from qwq_env.text.truncation import cut_characters, cut_tokens

NOTE = re.compile(r"\n\.\.\. \[(\d+) characters cut\] \.\.\.\n")


class ByteTokenizer:
    """One token a byte, as the byte-level vocabularies fall back to."""

    def encode(self, text: str, /) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int], /) -> str:
        return bytes(ids).decode("utf-8", "replace")


def test_the_head_and_the_tail_are_kept() -> None:
    cut = cut_characters("a" * 100 + "z" * 100, 30)

    assert cut.text == "a" * 20 + "\n... [170 characters cut] ...\n" + "z" * 10
    assert cut.characters == 170


@given(st.text(), st.integers(1, 50))
def test_what_is_kept_is_verbatim_and_within_the_cap(text: str, limit: int) -> None:
    cut = cut_characters(text, limit)

    if len(text) <= limit:
        assert cut == (text, 0)
        return
    head, tail = text[: limit - limit // 3], text[len(text) - limit // 3 :]
    assert cut.text == f"{head}\n... [{len(text) - limit} characters cut] ...\n{tail}"


@given(st.text(), st.integers(1, 50), st.none() | st.integers(1, 50))
def test_tokens_are_counted_not_characters(text: str, limit: int, characters: int | None) -> None:
    cut = cut_tokens(text, limit, ByteTokenizer(), characters=characters)

    if cut.characters == 0:
        assert cut.text == text
        assert len(text.encode()) <= limit
        return
    notes = [note for note in NOTE.finditer(cut.text) if int(note[1]) == cut.characters]
    kept = [(cut.text[: note.start()], cut.text[note.end() :]) for note in notes]
    assert any(
        text.startswith(head)
        and text.endswith(tail)
        and len(head) + len(tail) == len(text) - cut.characters
        and len((head + tail).encode()) <= limit
        and len(head) + len(tail) <= (characters or len(text))
        for head, tail in kept
    )


def test_a_character_is_not_cut_in_two() -> None:
    cut = cut_tokens("é" * 20, 9, ByteTokenizer())

    assert cut.text == "ééé\n... [16 characters cut] ...\né"


def test_one_note_tells_the_whole_loss() -> None:
    cut = cut_tokens("x" * 10_000, 6, ByteTokenizer(), characters=100)

    assert cut.text == "xxxx\n... [9994 characters cut] ...\nxx"
