"""Instructions about letter case and language.

The language ones are undecided (None) where langdetect is not installed.
"""

from qwq_env.grading.instructions.language import NO_LANGUAGE, detect_language
from qwq_env.grading.instructions.settings import Settings
from qwq_env.grading.instructions.words import count_capital_words

__all__ = ["CHECKS"]


def response_language(settings: Settings, response: str) -> bool | None:
    """The response is written in `language`, an ISO 639-1 code."""
    return _is_in(settings.text("language"), settings, response)


def english_capital(settings: Settings, response: str) -> bool | None:
    """English, in capital letters only."""
    return response.isupper() and _is_in("en", settings, response)


def english_lowercase(settings: Settings, response: str) -> bool | None:
    """English, in small letters only."""
    return response.islower() and _is_in("en", settings, response)


def capital_word_frequency(settings: Settings, response: str) -> bool:
    """`capital_relation` `capital_frequency` words in capital letters only."""
    count = count_capital_words(response, settings.knowledge)
    return settings.holds(count, "capital_frequency", "capital_relation")


def _is_in(language: str, settings: Settings, response: str) -> bool | None:
    found = detect_language(response)
    if found is None:
        return None
    return settings.undetectable if found == NO_LANGUAGE else found == language


CHECKS = {
    "language:response_language": response_language,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "change_case:capital_word_frequency": capital_word_frequency,
}
