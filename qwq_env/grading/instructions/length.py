"""Instructions about how long a response is: words, sentences, paragraphs."""

import re

from qwq_env.errors import UsageError
from qwq_env.grading.instructions.sentences import split_sentences
from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.words import count_words

__all__ = ["CHECKS"]

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_WORD_END = re.compile("[.,?!'\"]")


def number_words(settings: Settings, response: str) -> bool:
    """`relation` `num_words` words."""
    return settings.holds(count_words(response), "num_words", "relation")


def number_sentences(settings: Settings, response: str) -> bool:
    """`relation` `num_sentences` sentences."""
    count = len(split_sentences(response, settings.knowledge))
    return settings.holds(count, "num_sentences", "relation")


def number_paragraphs(settings: Settings, response: str) -> bool:
    """`num_paragraphs` paragraphs, divided by `***`; an empty one fails but at the two ends."""
    paragraphs = _DIVIDER.split(response)
    filled = [bool(paragraph.strip()) for paragraph in paragraphs]
    return all(filled[1:-1]) and sum(filled) == settings.number("num_paragraphs")


def nth_paragraph_first_word(settings: Settings, response: str) -> bool:
    """`num_paragraphs` paragraphs, divided by blank lines, the `nth_paragraph` (from 1) of which
    begins with `first_word`, in any case and without quotes before or marks after it.

    The place is counted over all pieces, the number over those that are not blank.
    """
    asked = settings.number("num_paragraphs")
    place = settings.number("nth_paragraph")
    if not 1 <= place <= asked:
        raise UsageError(f"{settings.instruction}: nth_paragraph is {place}; expected 1 to {asked}")
    pieces = response.split("\n\n")
    filled = sum(bool(piece.strip()) for piece in pieces)
    words = pieces[place - 1].split() if place <= filled else []
    if filled != asked or not words:
        return False
    first = _WORD_END.split(words[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return "".join(letter.lower() for letter in first) == settings.text("first_word").lower()


CHECKS = {
    "length_constraints:number_words": number_words,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
}
