"""Characters that a person does not see, and those that a terminal acts on.

A terminal acts on more than it shows: control characters move the cursor, set the title or fill
the clipboard (also as the C1 codes U+0080 to U+009F), a carriage return overwrites the line, and
the marks of bidirectional text show a line in another order than it is read. Text that others
wrote (a program, a model, a file) passes through `printable` before it is written to a screen.
"""

from __future__ import annotations

import re
from typing import Final

# Controls, the format characters of Unicode but the few that are seen (signs that enclose digits),
# what else Unicode says to draw as nothing, and the letters without ink of Hangul and Khitan.
UNSEEN: Final = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""For a regular expression's class; blank space is not in it."""

# Beside controls: the format characters of Unicode that reorder or hide text (category Cf without
# the two joiners, which Persian, Hindi and emoji need, and the Arabic and Brahmi signs, which are
# seen), the separators of lines and paragraphs, and surrogates, which cannot be written at all.
_HIDDEN: Final = (
    r"\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSAFE: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_HIDDEN}]")
_UNSAFE_IN_LINE: Final = re.compile(rf"[\x00-\x1f{_HIDDEN}]")


def printable(text: str, *, lines: bool = True) -> str:
    r"""Return `text` with every character that a terminal would act on as an escape (`\x1b`).

    Line feeds and tabs stay, unless `lines` is false: then the result is a single line. A carriage
    return is escaped in either case. The escapes are Python's: `\x9b`, `\u202e`, `\U000e0001`.
    """
    return (_UNSAFE if lines else _UNSAFE_IN_LINE).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
