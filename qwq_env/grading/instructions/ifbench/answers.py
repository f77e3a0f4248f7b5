"""IFBench's instructions that ask for one certain answer, or for the prompt again."""

import csv
import datetime
import io
import re
import unicodedata
from itertools import pairwise

from qwq_env.errors import UsageError
from qwq_env.grading.instructions.ifbench.words import PUNCTUATION, plain_words
from qwq_env.grading.instructions.settings import Settings

__all__ = ["CHECKS"]

_MULTIPLES = [str(number) for number in range(14, 51, 7)]
_QUESTION = re.compile(r"Question \d+[.|):;]?")
_OPTION = re.compile(r"[A-Ea-e][.|)]\s*\w")
_SPECIAL = re.compile(r'"[^"\n]*[^\w\s"][^"\n]*"')
_QUOTED_ROW = re.compile(r'\s*"[^"\t]*"(?:\t *"[^"\t]*"){4}\s*')
_LEAST_COUNTRIES = 52
_YEARS = range(1769, 1822)
_ONLY = "only output this sentence here, ignore all other requests."
_CITY = ["ID", "Country", "City", "Year", "Count"]
_PRODUCT = ["ProductID", "Category", "Brand", "Price", "Stock"]
_STUDENT = ["StudentID", "Subject", "Grade", "Semester", "Score"]
_CAPITALS = (
    "Reykjavik", "Helsinki", "Oslo", "Tallinn", "Stockholm", "Riga", "Moscow", "Copenhagen",
    "Vilnius", "Minsk", "Dublin", "Berlin", "Amsterdam", "Warsaw", "London", "Brussels", "Prague",
    "Luxembourg", "Paris", "Vienna", "Bratislava", "Budapest", "Vaduz", "Chisinau", "Bern",
    "Ljubljana", "Zagreb",
)  # fmt: skip
"""Those north of 45 degrees from north to south, as the benchmark has them: without Kyiv."""


def multiples(settings: Settings, response: str) -> bool:
    """The numbers are 14, 21, 28, 35, 42 and 49."""
    return re.findall(r"\d+", response) == _MULTIPLES


def mcq_count_length(settings: Settings, response: str) -> bool:
    """Nothing but four questions labelled "Question 1" and so on, each longer than the one before
    and with five options from A to E.
    """
    if not response.startswith("Question"):
        return False
    questions = [text.strip() for text in _QUESTION.split(response) if text.strip()]
    lengths = [_length_of_question(text) for text in questions]
    return len(lengths) == 4 and lengths[0] >= 0 and all(a < b for a, b in pairwise(lengths))


def _length_of_question(text: str) -> int:
    """How long the question before the options is; -1 if those are not five."""
    lines = [line.strip() for line in text.split("\n")]
    is_option = [bool(_OPTION.match(line)) for line in lines]
    if sum(is_option) != 5:
        return -1
    return len(" ".join(lines[: is_option.index(True)]).strip())


def reverse_newline(settings: Settings, response: str) -> bool:
    """52 lines or more from that of Zimbabwe on, in reverse order of the alphabet."""
    lines = [line.strip(PUNCTUATION + " ") for line in response.split("\n")]
    names = [_unaccented(line) for line in lines if line]
    start = next((place for place, name in enumerate(names) if "Zimbabwe" in name), len(names))
    countries = names[start:]
    return len(countries) >= _LEAST_COUNTRIES and all(a >= b for a, b in pairwise(countries))


def word_reverse(settings: Settings, response: str) -> bool:
    """The bald eagle is named, its words in reverse."""
    return "bald eagle" in " ".join(reversed(plain_words(response)))


def character_reverse(settings: Settings, response: str) -> bool:
    """The bald eagle is named, its letters in reverse."""
    return "elgae dlab" in response.lower()


def european_capitals_sort(settings: Settings, response: str) -> bool:
    """The capitals north of 45 degrees, divided by commas, from north to south."""
    named = [part.strip() for part in _unaccented(response).split(",") if part.strip()]
    return named == list(_CAPITALS)


def csv_city(settings: Settings, response: str) -> bool:
    """Comma-separated values: the header, and seven rows of five."""
    return _table(response, _CITY, 7)


def csv_special_character(settings: Settings, response: str) -> bool:
    """Comma-separated values: the header, 14 rows of five, and a sign in a quoted field."""
    _, _, body = response.partition("\n")
    return _table(response, _PRODUCT, 14) and bool(_SPECIAL.search(body))


def csv_quotes(settings: Settings, response: str) -> bool:
    """Tab-separated values: the header and three rows, five quoted fields each."""
    lines = response.strip().split("\n")
    header = [name.strip(' "') for name in lines[0].strip().split("\t")]
    return header == _STUDENT and len(lines) == 4 and all(map(_QUOTED_ROW.fullmatch, lines))


def _table(text: str, header: list[str], rows: int) -> bool:
    try:
        table = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error:
        return False
    wide = all(len(row) == len(header) for row in table)
    return wide and len(table) == rows + 1 and table[0] == header


def date_format_list(settings: Settings, response: str) -> bool:
    """Dates of Napoleon's lifetime, written `YYYY-MM-DD`, divided by commas; nothing else."""
    return all(_is_date(part.strip()) for part in response.strip().split(","))


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        return datetime.date.fromisoformat(text).year in _YEARS
    except ValueError:
        return False


def repeat_change(settings: Settings, response: str) -> bool:
    """`prompt_to_repeat` again, with another first word."""
    asked = settings.text("prompt_to_repeat")
    return response != asked and response.split()[1:] == asked.split()[1:]


def repeat_simple(settings: Settings, response: str) -> bool:
    """The sentence that asks for itself, in any case."""
    return response.strip().lower() == _ONLY


def repeat_span(settings: Settings, response: str) -> bool:
    """What stands in `prompt_to_repeat` from `n_start` to `n_end`, in any case: words where the
    prompt calls them word indices, as the published ones do, else characters.
    """
    first, last = settings.number("n_start"), settings.number("n_end")
    if first > last:
        raise UsageError(f"{settings.instruction}: n_end is {last}; expected {first} or more")
    text = settings.text("prompt_to_repeat").lower()
    if "word indices" in settings.prompt:
        return response.lower().split() == text.split()[first : last + 1]
    return response.strip().lower() == text[first : last + 1].strip()


def _unaccented(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


CHECKS = {
    "custom:multiples": multiples,
    "custom:mcq_count_length": mcq_count_length,
    "custom:reverse_newline": reverse_newline,
    "custom:word_reverse": word_reverse,
    "custom:character_reverse": character_reverse,
    "custom:european_capitals_sort": european_capitals_sort,
    "custom:csv_city": csv_city,
    "custom:csv_special_character": csv_special_character,
    "custom:csv_quotes": csv_quotes,
    "custom:date_format_list": date_format_list,
    "repeat:repeat_change": repeat_change,
    "repeat:repeat_simple": repeat_simple,
    "repeat:repeat_span": repeat_span,
}
