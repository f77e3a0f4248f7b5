"""What a terminal would act on is shown; what a person reads is left alone."""

import sys
import unicodedata

import pytest

from qwq_env.text.characters import printable

# Format characters that are seen: signs that enclose the digits after them; and the two joiners.
_SEEN = ("ARABIC", "KAITHI", "EGYPTIAN", "SYRIAC")
_JOINERS = ("\u200c", "\u200d")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b]52;c;aWQ=\x1b\\", r"\x1b]52;c;aWQ=\x1b" + "\\"),
        ("\x9b31mred", r"\x9b31mred"),
        ("done\rfake", r"done\x0dfake"),
        ("a\x08b\x00\x7f", r"a\x08b\x00\x7f"),
        ("\u202eevil\u2066\u200f", r"\u202eevil\u2066\u200f"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("\udc1b\U000e0041", r"\udc1b\U000e0041"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
    ],
)
def test_what_a_terminal_acts_on_is_shown(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ["a\n\tb\n", "é日本 \u0645\u06cc\u200c\u062e", "👩\u200d💻", "e\u0301", r"\x1b"]
)
def test_what_a_person_reads_is_left_alone(text):
    assert printable(text) == text


def test_a_single_line_has_no_line_ends_and_tabs():
    assert printable("a\n\tb", lines=False) == r"a\x0a\x09b"


def test_no_control_or_format_character_is_left():
    every = map(chr, range(sys.maxunicode + 1))
    acting = [c for c in every if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    left = set(printable("".join(acting), lines=False)) & set(acting)

    assert {c for c in left if not c.isascii() and not _is_seen(c)} == set()


def _is_seen(character):
    name = unicodedata.name(character, "")
    return character in _JOINERS or (name.startswith(_SEEN) and name != "ARABIC LETTER MARK")
