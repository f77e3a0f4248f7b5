"""What a reward asks beyond IFBench's rules: that the rule had something to hold for.

Many of them say how each sentence, line, bullet or quote has to be, and a response without any
follows them; others count what is written as it is written, so that `and` and `And` are two.
"""

from collections.abc import Callable, Mapping

from qwq_env.grading.instructions.ifbench.layout import LABELS
from qwq_env.grading.instructions.ifbench.sentences import kinds
from qwq_env.grading.instructions.ifbench.words import (
    CONJUNCTIONS,
    PUNCTUATION,
    palindromes,
    plain_words,
)
from qwq_env.grading.instructions.sentences import split_sentences
from qwq_env.grading.instructions.settings import Settings

__all__ = ["SUBSTANCE"]

_FEW_WORDS = 5


def _filled(parts: list[str]) -> int:
    return sum(any(map(str.isalnum, part)) for part in parts)


def _sentences(settings: Settings, response: str) -> bool:
    return _filled(split_sentences(response, settings.knowledge)) >= 2


def _lines(settings: Settings, response: str) -> bool:
    return _filled(response.split("\n")) >= 2


def _words(settings: Settings, response: str) -> bool:
    return len(plain_words(response)) >= _FEW_WORDS


def _every_line_two_words(settings: Settings, response: str) -> bool:
    return all(len(plain_words(line)) != 1 for line in response.split("\n"))


def _questions(settings: Settings, response: str) -> bool:
    return kinds(settings, response)[1] > 0


def _unique_word_count(settings: Settings, response: str) -> bool:
    words = {word.strip(PUNCTUATION) for word in response.lower().split()}
    return _filled(list(words)) >= settings.number("N")


def _conjunctions(settings: Settings, response: str) -> bool:
    words = {word.strip(PUNCTUATION).lower() for word in response.split()}
    return len(words & CONJUNCTIONS) >= settings.number("small_n")


def _palindrome(settings: Settings, response: str) -> bool:
    return len(set(palindromes(response))) >= 10


def _words_japanese(settings: Settings, response: str) -> bool:
    return len(response.split()) >= settings.number("N", least=1)


def _different_words(settings: Settings, response: str) -> bool:
    words = plain_words(response)
    return len(words) == len(set(words)) and _sentences(settings, response)


def _quotes(settings: Settings, response: str) -> bool:
    return any(mark in response for mark in '"“”')


def _list_items(settings: Settings, response: str) -> bool:
    return _filled(response.split(settings.text("sep"))[1:]) >= 2


def _sub_bullets(settings: Settings, response: str) -> bool:
    bullets = response.split("*")[1:]
    return bool(bullets) and all(
        _filled(bullet.split("-")[:1]) and _filled(bullet.split("-")[1:]) for bullet in bullets
    )


def _no_bullets_bullets(settings: Settings, response: str) -> bool:
    bullets = [line for line in response.split("\n") if line.strip().startswith("*")]
    return _filled(bullets) == len(bullets)


def _output_template(settings: Settings, response: str) -> bool:
    places = [response.find(label) for label in LABELS]
    parts = [
        response[start + len(label) : end]
        for label, start, end in zip(LABELS, places, [*places[1:], None], strict=True)
    ]
    return sorted(places) == places and _filled(parts) == len(LABELS)


def _repeat_change(settings: Settings, response: str) -> bool:
    asked = settings.text("prompt_to_repeat").split()
    return bool(asked) and plain_words(response)[:1] != plain_words(asked[0])


SUBSTANCE: Mapping[str, Callable[[Settings, str], bool]] = {
    "count:unique_word_count": _unique_word_count,
    "count:conjunctions": _conjunctions,
    "count:words_japanese": _words_japanese,
    "words:alphabet": _words,
    "words:vowel": _words,
    "words:consonants": _words,
    "words:palindrome": _palindrome,
    "words:prime_lengths": _words,
    "words:no_consecutive": _words,
    "words:last_first": _sentences,
    "words:paragraph_last_first": _every_line_two_words,
    "sentence:increment": _sentences,
    "sentence:alliteration_increment": _sentences,
    "ratio:sentence_type": _questions,
    "ratio:sentence_balance": _questions,
    "ratio:sentence_words": _different_words,
    "ratio:stop_words": _words,
    "format:newline": _lines,
    "format:line_indent": _lines,
    "format:quote_unquote": _quotes,
    "format:list": _list_items,
    "format:sub-bullets": _sub_bullets,
    "format:no_bullets_bullets": _no_bullets_bullets,
    "format:output_template": _output_template,
    "repeat:repeat_change": _repeat_change,
}
"""By instruction, what a response that follows the published rule must hold besides."""
