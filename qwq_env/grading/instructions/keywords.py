"""Instructions about which words, letters and phrases a response holds, and how often.

Keywords are taken literally, in any case; they are never regular expressions, because a data set
is not trusted to write those.
"""

import re

from qwq_env.errors import UsageError, brief
from qwq_env.grading.instructions.settings import Settings

__all__ = ["CHECKS"]

_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS = {
    "P.P.S": re.compile(r"p\.\s?p\.\s?s"),
    "P.S.": re.compile(r"p\.\s?s\."),
}


def existence(settings: Settings, response: str) -> bool:
    """Every one of `keywords` occurs, inside longer words too."""
    return all(_literal(word).search(response) for word in settings.texts("keywords"))


def frequency(settings: Settings, response: str) -> bool:
    """`keyword` occurs `relation` `frequency` times, inside longer words too."""
    pattern = _literal(settings.text("keyword").strip())
    count = sum(1 for _ in pattern.finditer(response))
    return settings.holds(count, "frequency", "relation")


def forbidden_words(settings: Settings, response: str) -> bool:
    """None of `forbidden_words` occurs as a whole word."""
    words = settings.texts("forbidden_words")
    return not any(re.search(rf"\b{re.escape(word)}\b", response, re.IGNORECASE) for word in words)


def letter_frequency(settings: Settings, response: str) -> bool:
    """The character `letter` occurs `let_relation` `let_frequency` times, in any case."""
    letter = settings.text("letter").strip().lower()
    if len(letter) != 1:
        raise UsageError(
            f"{settings.instruction}: letter is {brief(letter)}; expected one character"
        )
    return settings.holds(response.lower().count(letter), "let_frequency", "let_relation")


def postscript(settings: Settings, response: str) -> bool:
    """The marker of a postscript occurs, in any case."""
    marker = settings.text("postscript_marker").strip()
    pattern = _POSTSCRIPTS.get(marker)
    if pattern is None:
        return marker.lower() in response.lower()
    return bool(pattern.search(response.lower()))


def constrained_response(settings: Settings, response: str) -> bool:
    """One of the three fixed answers occurs."""
    return any(option in response for option in _OPTIONS)


def end_checker(settings: Settings, response: str) -> bool:
    """The response ends with `end_phrase`, in any case, closing double quotes aside."""
    phrase = settings.text("end_phrase").strip().lower()
    return response.strip().strip('"').lower().endswith(phrase)


def repeat_prompt(settings: Settings, response: str) -> bool:
    """The response begins with `prompt_to_repeat`, in any case; by default with the prompt."""
    asked = settings.values.get("prompt_to_repeat") or settings.prompt
    if not isinstance(asked, str) or not asked.strip():
        raise UsageError(
            f"{settings.instruction}: prompt_to_repeat is {brief(asked)}; expected a text"
        )
    return response.strip().lower().startswith(asked.strip().lower())


def _literal(word: str) -> re.Pattern[str]:
    return re.compile(re.escape(word), re.IGNORECASE)


CHECKS = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "detectable_content:postscript": postscript,
    "detectable_format:constrained_response": constrained_response,
    "startend:end_checker": end_checker,
    "combination:repeat_prompt": repeat_prompt,
}
