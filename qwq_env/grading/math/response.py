"""Which part of a response, or of an answer field, is the answer that is compared.

A response is searched in this order, after the thinking: the last box; the text behind the last
`####` (GSM8K); what follows the last "answer is" or "answer:"; the last formula; the last number.
Only one answer is ever taken. Training prompts ask for a box, and `boxed_only` accepts nothing
else.
"""

import re
from typing import Literal, NamedTuple

from qwq_env.grading.answer import SEARCH_WINDOW, final_answer_text, find_last_box, last_boxed

__all__ = ["Kind", "field_answer", "response_answer"]

Kind = Literal["answer", "response", "boxed"]

_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_CLAIM = re.compile(r"answer\b(?:[^.:\n]{0,80}?\b(?:is|are|equals)\b:?|\s*:|\s*=)", re.IGNORECASE)
_FINAL_ANSWER = re.compile(r"final answer\b", re.IGNORECASE)
_LEADING_WORDS = re.compile(
    r"\b(?:answers?|is|are|be|that|get|gives?|have|obtain|therefore|thus|hence|so|equals?|to)[\s:]*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$|<\|)|\n|<\||I hope it is correct")
_VERB = re.compile(r"\b(?:is|are|equals|be)\b:?\s+")
_DELIMITER = re.compile(r"\\\\|\\\$|\$\$|\$|\\\(|\\\)|\\\[|\\\]|\n")
_CLOSING = {"$$": "$$", "$": "$", "\\(": "\\)", "\\[": "\\]"}
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|\.\d+)"
    r"(?:\s*(?:\\?%|percent\b))?"
)
_OPERATORS = frozenset("*/^+_\\")


def response_answer(
    text: str, kind: Kind = "response", boxed_only: bool = False, thinking_end: str = "</think>"
) -> str | None:
    """The text of the answer, or None when there is none.

    With kind "answer" the text is an answer already, and a box or a sentence around it is taken
    off; with "response" it is all that the model wrote; "boxed" is a response without a box of
    which nothing is taken, as with `boxed_only`.
    """
    if kind == "answer":
        return field_answer(text)
    text = final_answer_text(text, thinking_end)[-SEARCH_WINDOW:]
    box = find_last_box(text)
    if boxed_only or kind == "boxed":
        return box and box.content
    if box is not None:
        if box.content is None:
            return None  # cut off while the answer was being written
        later = _FINAL_ANSWER.search(text, box.end)
        return (later and _claimed(text[later.start() :])) or box.content
    return _hashes(text) or _claimed(text) or _formula(text) or _number(text)


def field_answer(text: str) -> str:
    """The answer in a field that holds an answer: without the box or the sentence around it."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    formulas = _formulas(text[:SEARCH_WINDOW])
    if len(formulas) == 1 and _LEADING_WORDS.search(text[: formulas[0].start]):
        return formulas[0].content
    return text


class _Formula(NamedTuple):
    start: int
    content: str


def _formulas(text: str) -> list[_Formula]:
    """What stands between `$...$`, `$$...$$`, `\\(...\\)` and `\\[...\\]`, in one pass."""
    found: list[_Formula] = []
    opening, start = "", 0
    for delimiter in _DELIMITER.finditer(text):
        mark = delimiter[0]
        if opening and mark == _CLOSING[opening]:
            content = text[start + len(opening) : delimiter.start()].strip()
            if content:
                found.append(_Formula(start, content))
            opening = ""
        elif mark == "\n":
            opening = "" if opening == "$" else opening
        elif mark in _CLOSING and (not opening or opening[0] == mark[0]):
            opening, start = mark, delimiter.start()
    return found


def _hashes(text: str) -> str | None:
    found = _HASHES.findall(text)
    return found[-1].strip() if found else None


def _claimed(text: str) -> str | None:
    claims = list(_CLAIM.finditer(text))
    if not claims:
        return None
    rest = text[claims[-1].end() :].lstrip(" *_:\n")[:2000]
    formulas = _formulas(rest)
    if formulas and formulas[0].start == 0:
        return formulas[0].content
    end = _SENTENCE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    parts = _VERB.split(clause)
    return _tidy(parts[-1]) or None


def _tidy(clause: str) -> str:
    clause = clause.strip().strip("*_` ")
    if formulas := _formulas(clause):
        return formulas[-1].content
    if len(clause) > 60 or len(clause.split()) > 6:
        return _number(clause) or clause
    return clause


def _formula(text: str) -> str | None:
    formulas = _formulas(text)
    return formulas[-1].content if formulas else None


def _number(text: str) -> str | None:
    """The last number; none when it is a piece of an expression or of code."""
    numbers = list(_NUMBER.finditer(text[-4000:]))
    if not numbers:
        return None
    last = numbers[-1]
    around = last.string[last.start() - 1 : last.start()] + last.string[last.end() : last.end() + 1]
    return None if _OPERATORS & set(around) else last[0]
