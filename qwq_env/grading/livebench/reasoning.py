"""LiveBench's reasoning tasks: web_of_lies_v2, zebra_puzzle, spatial.

For evaluation only. All three can be gamed. A web of lies has eight possible answers, and the three
words are searched for in the whole text. A zebra answer counts when it merely contains the right
one, so a list of every value in each place is right. Spatial is content with any of the last three
bold stretches, so three guesses count as one.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from qwq_env.grading.livebench.extract import between, boxed_content, plain, solutions
from qwq_env.grading.score import Score

__all__ = ["spatial", "web_of_lies", "zebra_puzzle"]

TAGS_SINCE = "2024-11-25"
"""Questions released from this day on ask for `<solution>` tags."""

_TRUTHS = ("yes", "no", "unknown")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_TRIPLE_BOLD = re.compile(r"\*\*\*(\w+)\*\*\*")
_WORD = re.compile(r"\w+")
_NUMBERS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
]
_SHAPES = ("tetrahedra", "tetrahedron", "triangle", "square")


def web_of_lies(question: Mapping[str, Any], answer: str) -> Score:
    """Three times yes, no or unknown: all right or none.

    Read from the last solution tag, else the last three such words in bold, else a box, else the
    list of three that begins last in the text (each list at its first place).
    """
    reference = question["ground_truth"].lower()
    found = _claimed_truths(answer)
    if not found:
        return Score.wrong("no_answer")
    exactly_three = sum(map(found.count, _TRUTHS)) == 3
    right = found == reference or (exactly_three and reference in found)
    return Score.right() if right else Score.wrong("different", found[:80])


def _claimed_truths(answer: str) -> str | None:
    tagged = solutions(answer, misspelt=True)
    found = tagged[-1] if tagged else _bold_truths(answer)
    if found is None or not found.strip():
        text = answer.replace(r"\\boxed{\\textbf{", r"\\boxed{").replace(r"\\fbox{", r"\\boxed{")
        box = boxed_content(text.replace("\\textbf{", "\\boxed{"))
        found = found if box is None else box
    if found is not None:
        return found
    text = answer.lower()
    lists = [", ".join(words) for words in itertools.product(_TRUTHS, repeat=3)]
    place, last = max((text.find(words), -number) for number, words in enumerate(lists))
    return lists[-last] if place >= 0 else None


def _bold_truths(answer: str) -> str | None:
    words = [
        word.lower().replace(",", "").replace(".", "")
        for stretch in between(answer, "**", "**")
        for word in stretch.split()
    ]
    return ", ".join([word for word in words if word in _TRUTHS][-3:]) or None


def zebra_puzzle(question: Mapping[str, Any], answer: str) -> Score:
    """A list of values: the share that is right, averaged with whether all are.

    Questions released before the tags were asked for have one answer, in triple bold or as the
    last word: all or nothing.
    """
    if question["livebench_release_date"] < TAGS_SINCE:
        return _last_word(question["ground_truth"].lower(), answer)
    references = question["ground_truth"].split(",")
    values = _claimed_values(answer, len(references))
    if values is None:
        return Score.wrong("no_answer")
    right = sum(
        _named(reference) in _named(value).replace("position", "")
        for reference, value in zip(references, values, strict=False)
    )
    share = right / len(references)
    if share == 1:
        return Score.right()
    return Score.partial(share / 2, "different", f"{right} of {len(references)}")


def _claimed_values(answer: str, wanted: int) -> list[str] | None:
    found = solutions(answer, misspelt=True)
    if not found:
        box = boxed_content(answer.replace(r"\\fbox{", r"\\boxed{"))
        found = [] if box is None else [plain(box)]
    if not found:
        line = answer.strip().rpartition("\n")[2]
        found = [line] if line.count(",") == wanted - 1 else []
    if len(found) > 1:
        return ",".join(found).split(",")[-wanted:]
    return found[0].split(",") if found else None


def _named(value: str) -> str:
    return value.strip().lower().replace("-", " ")


def _last_word(reference: str, answer: str) -> Score:
    words = _TRIPLE_BOLD.findall(answer)
    if not words:
        for match in _WORD.finditer(answer):
            words = [match[0]]
    word = words[-1] if words else ""
    spelt = dict(zip(map(str, range(1, 10)), _NUMBERS[1:10], strict=True)).get(word)
    if reference in (word.lower(), f"{word.lower()} movies", spelt):
        return Score.right()
    return Score.wrong("different", word[:80])


def spatial(question: Mapping[str, Any], answer: str) -> Score:
    """A number or a shape: one of the last three bold stretches, or the last box.

    Numbers up to twenty may be spelt out, and a shape may have a short word beside it.
    """
    reference = question["ground_truth"]
    wanted = reference.strip().lower()
    bold = [words.strip().lower() for words in _BOLD.findall(answer)[-3:]]
    if answer == reference or any(_is_value(words, wanted) for words in bold):
        return Score.right()
    box = boxed_content(answer.replace(r"\\fbox{", r"\\boxed{"))
    if box:
        for command in ("\\textbf{", "\\mathbf{", "\\text{", "}"):
            box = box.replace(command, "")
        bold.append(box)
    if box == reference:
        return Score.right()
    return Score.wrong("different", bold[-1][:80]) if bold else Score.wrong("no_answer")


def _is_value(words: str, wanted: str) -> bool:
    if words == wanted or (words in _NUMBERS and str(_NUMBERS.index(words)) == wanted):
        return True
    return wanted in _SHAPES and wanted in words and len(words) < 2 * len(wanted) + 5
