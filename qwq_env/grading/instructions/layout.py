"""Instructions about the form of a response: lists, sections, titles, JSON, quotation marks.

Where the specification is a regular expression of quadratic cost, the same is counted here in one
pass, because a response may be a megabyte of opening brackets.
"""

import json
import re

from qwq_env.grading.instructions.settings import Settings

__all__ = ["CHECKS"]

_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*-", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_BOLD = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCES = ("```json", "```Json", "```JSON", "```")


def number_bullet_lists(settings: Settings, response: str) -> bool:
    """Exactly `num_bullets` lines that begin with `*` (not `**`) or `-`."""
    count = sum(1 for _ in _STAR_BULLET.finditer(response))
    count += sum(1 for _ in _DASH_BULLET.finditer(response))
    return count == settings.number("num_bullets")


def number_highlighted_sections(settings: Settings, response: str) -> bool:
    """At least `num_highlights` stretches `*so*` or `**so**`, none of them blank."""
    count = sum(
        bool(match[1].strip())
        for pattern in (_HIGHLIGHT, _BOLD)
        for match in pattern.finditer(response)
    )
    return count >= settings.number("num_highlights")


def multiple_sections(settings: Settings, response: str) -> bool:
    """At least `num_sections` headings: `section_spliter` and a number."""
    heading = re.compile(re.escape(settings.text("section_spliter")) + r"\s?\d+")
    return sum(1 for _ in heading.finditer(response)) >= settings.number("num_sections")


def number_placeholders(settings: Settings, response: str) -> bool:
    """At least `num_placeholders` stretches in square brackets, each within one line."""
    count = 0
    for line in response.split("\n"):
        opening = line.find("[")
        while opening >= 0 and (closing := line.find("]", opening)) >= 0:
            count += 1
            opening = line.find("[", closing)
    return count >= settings.number("num_placeholders")


def title(settings: Settings, response: str) -> bool:
    """A line holds `<<a title>>`, not blank."""
    return any(_has_title(line) for line in response.split("\n"))


def _has_title(line: str) -> bool:
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start < end - 2 and bool(line[start:end].lstrip("<").rstrip(">").strip())


def json_format(settings: Settings, response: str) -> bool:
    """The whole response is one JSON value, a code fence around it aside."""
    text = response.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def two_responses(settings: Settings, response: str) -> bool:
    """Two different texts with `******` between them; an empty one fails but at the two ends."""
    pieces = [piece.strip() for piece in response.split("******")]
    answers = [piece for piece in pieces if piece]
    return all(pieces[1:-1]) and len(answers) == 2 and answers[0] != answers[1]


def quotation(settings: Settings, response: str) -> bool:
    """The whole response stands in double quotation marks."""
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def no_comma(settings: Settings, response: str) -> bool:
    """There is no comma."""
    return "," not in response


CHECKS = {
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:title": title,
    "detectable_format:json_format": json_format,
    "detectable_content:number_placeholders": number_placeholders,
    "combination:two_responses": two_responses,
    "startend:quotation": quotation,
    "punctuation:no_comma": no_comma,
}
