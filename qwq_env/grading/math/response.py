"""Which part of a response, or of an answer field, is the answer that is compared.

A response is searched in this order, after the thinking: the last box; the text behind the last
`####` (GSM8K); what follows the last "answer is" or "answer:"; the last formula; the last number.
Only one answer is ever taken. Training prompts ask for a box, and `boxed_only` accepts nothing
else.
"""

import re
from typing import Literal

from qwq_env.grading.answer import SEARCH_WINDOW, final_answer_text, last_boxed

__all__ = ["Kind", "response_answer"]

Kind = Literal["answer", "response"]

_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_CLAIM = re.compile(r"answer\b(?:[^.:\n]{0,80}?\b(?:is|are|equals)\b:?|\s*:|\s*=)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$|<\|)|\n|<\||I hope it is correct")
_VERB = re.compile(r"\b(?:is|are|equals|be)\b:?\s+")
_FORMULA = re.compile(
    r"\$\$(?P<display>[^$]{1,4000})\$\$|\\\[(?P<bracket>.{1,4000}?)\\\]"
    r"|\\\((?P<paren>.{1,4000}?)\\\)|(?<!\\)\$(?P<inline>(?:[^$\\\n]|\\.){1,2000})\$",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?(?:\s*(?:\\?%|percent\b))?"
    r"|(?<![\w.])[-+−]?\.\d+"
)


def response_answer(
    text: str, kind: Kind = "response", boxed_only: bool = False, thinking_end: str = "</think>"
) -> str | None:
    """The text of the answer, or None when there is none.

    With kind "answer" the text is an answer already, and a box or a sentence around it is taken
    off; with "response" it is all that the model wrote.
    """
    if kind == "answer":
        return _from_field(text)
    text = final_answer_text(text, thinking_end)[-SEARCH_WINDOW:]
    boxed = last_boxed(text)
    if boxed is not None or boxed_only:
        return boxed
    return _hashes(text) or _claimed(text) or _formula(text) or _number(text)


def _from_field(text: str) -> str:
    boxed = last_boxed(text)
    return text if boxed is None else boxed


def _hashes(text: str) -> str | None:
    found = _HASHES.findall(text)
    return found[-1].strip() if found else None


def _claimed(text: str) -> str | None:
    claims = list(_CLAIM.finditer(text))
    if not claims:
        return None
    rest = text[claims[-1].end() :].lstrip(" *_:\n")[:2000]
    formula = _FORMULA.match(rest)
    if formula:
        return _content(formula)
    end = _SENTENCE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    parts = _VERB.split(clause)
    return _tidy(parts[-1]) or None


def _tidy(clause: str) -> str:
    clause = clause.strip().strip("*_` ")
    formulas = list(_FORMULA.finditer(clause))
    if formulas:
        return _content(formulas[-1])
    if len(clause) > 60 or len(clause.split()) > 6:
        return _number(clause) or clause
    return clause


def _formula(text: str) -> str | None:
    found = None
    for found in _FORMULA.finditer(text):
        pass
    return _content(found) if found else None


def _content(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None).strip()


def _number(text: str) -> str | None:
    found = _NUMBER.findall(text[-4000:])
    return found[-1] if found else None
