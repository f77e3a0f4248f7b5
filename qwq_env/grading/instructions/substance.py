"""What a reward asks beyond IFEval's rules: that there is something where a rule wants something.

The published rules count marks. A title of one space without width, three bullets of nothing, `[]`
as placeholders, two answers that differ in a full stop: all of that follows them, and a policy that
is paid by them finds it. So a reward looks at the text as a person sees it (`visible`), and each
rule that asks for parts asks that the parts hold a letter or a digit. Evaluation, which is compared
with published figures, does neither.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from qwq_env.grading.instructions.sentences import split_sentences
from qwq_env.grading.instructions.settings import Settings
from qwq_env.text.characters import UNSEEN

__all__ = ["SUBSTANCE", "has_content", "visible"]

_UNSEEN = re.compile(f"[{UNSEEN}]")
_BLANK_PATTERN = "\u2800"  # Braille without a dot: as wide as the others, and empty
_BULLET = re.compile(r"^[^\S\n]*(?:\*(?!\*)|-)(.*)$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_BOLD = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCE = re.compile(r"^```(?:json)?|```$", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def visible(text: str) -> str:
    """Return `text` without the characters that nobody sees."""
    return _UNSEEN.sub("", text).replace(_BLANK_PATTERN, " ")


def has_content(text: str) -> bool:
    """Say whether there is a letter or a digit, of any script, in `text`."""
    return any(map(str.isalnum, text))


def _number_bullet_lists(settings: Settings, response: str) -> bool:
    return all(has_content(match[1]) for match in _BULLET.finditer(response))


def _number_highlighted_sections(settings: Settings, response: str) -> bool:
    filled = sum(
        has_content(match[1])
        for pattern in (_HIGHLIGHT, _BOLD)
        for match in pattern.finditer(response)
    )
    return filled >= settings.number("num_highlights")


def _multiple_sections(settings: Settings, response: str) -> bool:
    heading = re.compile(re.escape(settings.text("section_spliter")) + r"\s?\d+")
    filled = sum(map(has_content, heading.split(response)[1:]))
    return filled >= settings.number("num_sections")


def _number_placeholders(settings: Settings, response: str) -> bool:
    filled = 0
    for line in response.split("\n"):
        # Of `[[a]` the last bracket opens: every stretch is looked at once.
        filled += sum(
            has_content(part.rpartition("[")[2]) for part in line.split("]")[:-1] if "[" in part
        )
    return filled >= settings.number("num_placeholders")


def _title(settings: Settings, response: str) -> bool:
    return any(
        has_content(line[start + 2 : end])
        for line in response.split("\n")
        if 0 <= (start := line.find("<<")) < (end := line.rfind(">>"))
    )


def _json_format(settings: Settings, response: str) -> bool:
    text = _FENCE.sub("", response.strip()).strip()
    try:
        json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key twice")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _two_responses(settings: Settings, response: str) -> bool:
    # Two answers that a reader would call the same differ in marks, case or spaces only.
    answers = ["".join(filter(str.isalnum, piece.casefold())) for piece in response.split("******")]
    filled = [answer for answer in answers if answer]
    return len(filled) == 2 and filled[0] != filled[1]


def _postscript(settings: Settings, response: str) -> bool:
    marker = settings.text("postscript_marker").strip()
    letters = r"\s?".join(map(re.escape, "".join(marker.split())))
    after = re.split(letters, response, maxsplit=1, flags=re.IGNORECASE)[1:]
    return any(map(has_content, after))


def _repeat_prompt(settings: Settings, response: str) -> bool:
    asked = settings.values.get("prompt_to_repeat") or settings.prompt
    return has_content(response.strip()[len(str(asked).strip()) :])


def _number_words(settings: Settings, response: str) -> bool:
    count = sum(has_content(match[0]) for match in _WORD.finditer(response))
    return settings.holds(count, "num_words", "relation")


def _number_sentences(settings: Settings, response: str) -> bool:
    count = sum(map(has_content, split_sentences(response, settings.knowledge)))
    return settings.holds(count, "num_sentences", "relation")


def _number_paragraphs(settings: Settings, response: str) -> bool:
    filled = sum(map(has_content, response.split("***")))
    return filled == settings.number("num_paragraphs")


def _nth_paragraph_first_word(settings: Settings, response: str) -> bool:
    filled = sum(map(has_content, response.split("\n\n")))
    return filled == settings.number("num_paragraphs")


SUBSTANCE: Mapping[str, Callable[[Settings, str], bool]] = {
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:title": _title,
    "detectable_format:json_format": _json_format,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
}
"""By instruction, what a response that follows the published rule must hold besides."""
