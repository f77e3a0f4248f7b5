"""Characters that nobody sees, for all who look at a text as a person does."""

from typing import Final

# Controls, the format characters of Unicode but the few that are seen (signs that enclose digits),
# what else Unicode says to draw as nothing, and the letters without ink of Hangul and Khitan.
UNSEEN: Final = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""For a regular expression's class; blank space is not in it."""
