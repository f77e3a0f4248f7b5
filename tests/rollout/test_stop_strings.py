"""Stop strings, held against a plain search of the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from qwq_env.rollout.stop_strings import StopStrings

PIECES = [b"a", b"b", b"ab", b"</", b"call", b">", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98\x80b"]


class Bytes:
    """Decodes a token to its piece; pieces may be parts of characters."""

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(PIECES[token] for token in ids).decode(errors="replace")


@given(
    ids=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    strings=st.lists(st.sampled_from(["</call>", "aba", "é", "😀b", ">", "bb\u00e9"]), max_size=3),
)
def test_the_string_is_seen_at_the_token_that_completes_it(ids, strings):
    stop = StopStrings(tuple(strings), Bytes())

    seen = next((n for n in range(1, len(ids) + 1) if stop.completed(ids[:n])), None)
    expected = next(
        (
            n
            for n in range(1, len(ids) + 1)
            if any(string in Bytes().decode(ids[:n]) for string in strings)
        ),
        None,
    )

    assert seen == expected


def test_a_long_string_of_wide_characters_is_seen_a_byte_a_token():
    class Single:
        def decode(self, ids: Sequence[int]) -> str:
            return bytes(ids).decode(errors="replace")

    ids = list("so 😀🙂😉🙃😎 on".encode())
    stop = StopStrings(("😀🙂😉🙃😎",), Single())
    seen = [n for n in range(1, len(ids) + 1) if stop.completed(ids[:n])]

    assert seen[0] == len(ids) - len(b" on")


def test_an_empty_stop_string_stops_nothing():
    assert not StopStrings(("",), Bytes()).completed([0])
