"""What counts as a word: runs of letters and digits, or Penn Treebank tokens in capitals.

IFEval counts words as runs of word characters, and "words in all capital letters" as Treebank
tokens, in which `DON'T` is two words and `AND/OR` is one. Only the tokens that have letters matter
for the second, so punctuation is not made a token here: it becomes space.
"""

import re
from collections.abc import Iterator

from qwq_env.grading.instructions.sentences import Knowledge, split_sentences

__all__ = ["count_capital_words", "count_words", "treebank_words"]

_WORD = re.compile(r"\w+")

_OPENING_APOSTROPHE = re.compile(r"(?<!\w)'(?!(?:re|ve|ll|[mtsdn])\b)(?=\w)", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[][(){}<>«»“”‘’„`\";@#$%&?!*‒-―]|''|\.{2,}|--|[:,](?!\d)")
_FUSED = re.compile(
    r"\b(?:(can)(not)|(d)('ye)|(gim|lem)(me)|(gon|wan(?=na\s))(na)|(got)(ta)|(more)('n))\b",
    re.IGNORECASE,
)
_FINAL_PERIOD = re.compile(r"(?<=[^.])\.(?=[])}>\"'»”’ ]*$)")
# A clitic is cut off where the token ends; one apostrophe before it is part of the word.
_SHORT_CLITIC = re.compile(r"([^' ])('[sSmMdD]|') ")
_LONG_CLITIC = re.compile(r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ")


def count_words(text: str) -> int:
    """How many runs of letters, digits and underscores `text` has (`don't` is two)."""
    return sum(1 for _ in _WORD.finditer(text))


def count_capital_words(text: str, knowledge: Knowledge) -> int:
    """How many Treebank tokens of `text` are written in capital letters only (`A` is one)."""
    return sum(word.isupper() for word in treebank_words(text, knowledge))


def treebank_words(text: str, knowledge: Knowledge) -> Iterator[str]:
    """Yield the Treebank tokens of `text` without the marks: `don't` is `do` and `n't`."""
    for sentence in split_sentences(text, knowledge):
        yield from _tokens(sentence)


def _tokens(sentence: str) -> list[str]:
    text = _OPENING_APOSTROPHE.sub("' ", sentence.rstrip())
    text = _FINAL_PERIOD.sub(" ", text)
    text = _BETWEEN_WORDS.sub(" ", text)
    text = f" {' '.join(text.split())} "
    text = _SHORT_CLITIC.sub(r"\1 \2 ", text)
    text = _LONG_CLITIC.sub(r"\1 \2 ", text)
    return _FUSED.sub(_unfuse, text).split()


def _unfuse(match: re.Match[str]) -> str:
    return " " + " ".join(part for part in match.groups() if part) + " "
