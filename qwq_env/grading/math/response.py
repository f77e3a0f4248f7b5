"""Which part of a response, or of an answer field, is the answer that is compared.

A response is searched in this order, after the thinking: the last box (with those that stand by it,
where several answers are asked for); the text behind the last `####` (GSM8K); what follows the last
"answer is" or "answer:"; the number that a last sentence with "therefore" gives; the number that is
said of the last formula, or this formula; the last number. Alternatives ("$42$ or $43$") are taken
together, and what is denied is not taken. Markdown's emphasis says nothing, and the dollar of `$5`
opens no formula. Only one answer is ever taken. Training prompts ask for a box, and `boxed_only`
accepts nothing else.
"""

import re
from itertools import pairwise
from typing import Literal, NamedTuple

from qwq_env.grading.answer import SEARCH_WINDOW, final_answer_text, find_last_box, last_boxed

__all__ = ["Kind", "field_answer", "reference_answer", "response_answer"]

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
_OPENING_MARKS = re.compile(r'\A(?:[\s*_:]|\\?")+')
_OPERATORS = frozenset("*/^+_\\")
_OPEN_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_LIST_SIGN = re.compile(r"[,;]|\b(?:and|or)\b|\\q?quad")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s,;.$]|\\[()\[\]]|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b)*"
)
_ALSO = re.compile(r"\s*(?:[,;]|,?\s*\b(?:or|and)\b)\s*(?:(?:or|and|maybe|perhaps|possibly)\b\s*)*")
_OR = re.compile(r"\s*,?\s*\b(?:or|and)\b\s*(?:(?:maybe|perhaps|possibly)\b\s*)?|\s*,\s*")
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n't|\bnever)\s*(?:(?:be|equal(?:\s+to)?)\s*)?$", re.IGNORECASE
)
_DENIAL = re.compile(r"\W*(?:not|never|neither|anything but)\b", re.IGNORECASE)
_DENIED_AFTER = re.compile(
    r"\s*(?:\?|(?:is|was|are)\s+(?:not|wrong|incorrect|false)\b|(?:isn't|wasn't|aren't|can't|cannot))",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(
    r"(?<![\w*])(?P<star>\*{1,3})(?=[^\s*])(?P<bold>[^*\n]*?)(?<=\S)(?P=star)(?![\w*])"
    r"|(?<![\w\\])(?P<line>_{1,3})(?=[^\s_])(?P<slanted>[^_\n]*?)(?<=\S)(?P=line)(?!\w)"
)
# Between dollars: words of prose, which `\text{}` would hold in a formula.
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")
_SAID_OF_IT = re.compile(
    r"\b(?:is|are|be|equals?|becomes?|gives?|gets?|leaves?|makes?)\b:?\s+"
    r"(?:(?:about|exactly|only|just|then|now|therefore|thus|to|equal)\s+)*\$?"
    rf"(?P<number>{_NUMBER.pattern})"
)
_CONCLUSION = re.compile(
    r"\b(?:Therefore|Thus|Hence|So|Consequently|In total|In conclusion|Altogether)\b"
)


def response_answer(
    text: str,
    kind: Kind = "response",
    boxed_only: bool = False,
    *,
    several: bool = False,
) -> str | None:
    """The text of the answer, or None when there is none.

    With kind "answer" the text is an answer already, and a box or a sentence around it is taken
    off; with "response" it is all that the model wrote; "boxed" is a response without a box of
    which nothing is taken, as with `boxed_only`. Of boxes that stand together the last one counts,
    or with `several`, where more than one answer is asked for, all of them.
    """
    if kind == "answer":
        return field_answer(text)
    text = final_answer_text(text)[-SEARCH_WINDOW:]
    box = find_last_box(text)
    if box is not None or boxed_only or kind == "boxed":
        if box is None or box.content is None:
            return None  # none, or cut off while the answer was being written
        content = _with_those_beside_it(text, box.content) if several else box.content
        later = None if boxed_only or kind == "boxed" else _FINAL_ANSWER.search(text, box.end)
        return (later and _claimed(_plain(text[later.start() :]))) or content
    text = _plain(text)
    return _hashes(text) or _claimed(text) or _concluded(text) or _formula(text) or _number(text)


def field_answer(text: str) -> str:
    """The answer in a field that holds an answer: without the box or the sentence around it.

    Boxes side by side, with nothing but commas or "and" between them, are one list.
    """
    boxes = _boxes_side_by_side(text)
    if len(boxes) > 1:
        return ", ".join(boxes)
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    formulas = _formulas(text[:SEARCH_WINDOW])
    if len(formulas) == 1 and _LEADING_WORDS.search(text[: formulas[0].start]):
        return formulas[0].content
    return text


def reference_answer(gold: str) -> str:
    """`field_answer` of a reference, which may have been escaped twice or cut off in its box."""
    gold = gold.replace("\\\\boxed", "\\boxed")
    begun = _OPEN_BOX.search(gold)
    if begun and last_boxed(gold) is None:
        return gold[begun.end() :]
    return field_answer(gold)


def _plain(text: str) -> str:
    """The text without the marks of Markdown's emphasis."""
    return _EMPHASIS.sub(lambda found: found["bold"] or found["slanted"], text)


def _with_those_beside_it(text: str, last: str) -> str:
    """The last box with those that stand together with it: several answers, in one sentence."""
    row: list[_Formula] = []
    for box in _boxes(text):
        row = [*row, box] if row and _stand_together(text, row[-1].end, box.start) else [box]
    contents = list(dict.fromkeys(box.content for box in row if box.content))
    return ", ".join(contents) if len(contents) > 1 and contents[-1] == last else last


def _stand_together(text: str, start: int, end: int) -> bool:
    between = _BETWEEN_BOXES.fullmatch(text, start, end)
    return between is not None and ("\n" not in between[0] or bool(_LIST_SIGN.search(between[0])))


def _boxes_side_by_side(text: str) -> list[str]:
    """The contents of all boxes; none when something else stands between two of them."""
    boxes = _boxes(text)
    apart = any(not _BETWEEN_BOXES.fullmatch(text, a.end, b.start) for a, b in pairwise(boxes))
    return [] if apart else [box.content for box in boxes]


class _Formula(NamedTuple):
    start: int
    end: int
    content: str


def _boxes(text: str) -> "list[_Formula]":
    """All boxes with braces, the outermost of nested ones; none if one is never closed."""
    found: list[_Formula] = []
    position = 0
    while begun := _OPEN_BOX.search(text, position):
        level = 1
        for brace in _BRACE.finditer(text, begun.end()):
            level += {"{": 1, "}": -1}.get(brace[0], 0)
            if level == 0:
                content = text[begun.end() : brace.start()].strip()
                position = brace.end()
                found.append(_Formula(begun.start(), position, content))
                break
        else:
            return []
    return found


def _formulas(text: str) -> list[_Formula]:
    """What stands between `$...$`, `$$...$$`, `\\(...\\)` and `\\[...\\]`, in one pass."""
    found: list[_Formula] = []
    opening, start = "", 0
    for delimiter in _DELIMITER.finditer(text):
        mark = delimiter[0]
        if opening == mark == "$" and _is_money(text, start + 1, delimiter.start()):
            start = delimiter.start()
        elif opening and mark == _CLOSING[opening]:
            content = text[start + len(opening) : delimiter.start()].strip()
            if content:
                found.append(_Formula(start, delimiter.end(), content))
            opening = ""
        elif mark == "\n":
            opening = "" if opening == "$" else opening
        elif mark in _CLOSING and (not opening or opening[0] == mark[0]):
            opening, start = mark, delimiter.start()
    return found


def _is_money(text: str, start: int, end: int) -> bool:
    """Whether the dollar before `start` is that of an amount, not the opening of a formula."""
    if not text[start : start + 1].isdigit():
        return False
    return text[end + 1 : end + 2].isdigit() or _PROSE.search(text, start, end) is not None


def _hashes(text: str) -> str | None:
    found = _HASHES.findall(text)
    return found[-1].strip() if found else None


def _claimed(text: str) -> str | None:
    claims = list(_CLAIM.finditer(text))
    if not claims:
        return None
    rest = _OPENING_MARKS.sub("", text[claims[-1].end() :][:2000])
    formulas = _formulas(rest)
    if formulas and formulas[0].start == 0:
        return _with_the_next(rest, formulas)
    end = _SENTENCE_END.search(rest)
    clause = rest[: end.start()] if end else rest
    parts = _VERB.split(clause)
    if _DENIAL.match(parts[-1]):
        return parts[-1]
    return _tidy(parts[-1]) or None


def _with_the_next(text: str, formulas: list[_Formula]) -> str:
    """The first formula, with those that are said beside it ("$42$ or $43$"): no single answer."""
    said = [formulas[0].content]
    for one, other in pairwise(formulas):
        if not _ALSO.fullmatch(text, one.end, other.start):
            break
        said.append(other.content)
    return ", ".join(said)


def _concluded(text: str) -> str | None:
    """The one number of a last sentence in prose that begins with "Therefore" or the like."""
    parts = _CONCLUSION.split(text[-600:])
    if len(parts) < 2 or "$" in parts[-1] or "\\" in parts[-1]:
        return None
    numbers = _NUMBER.findall(_SENTENCE_END.split(parts[-1])[0])
    return numbers[0] if len(numbers) == 1 else None


def _tidy(clause: str) -> str:
    clause = clause.strip().strip("*_` ")
    if found := _last_formula(clause, _formulas(clause)):
        return found
    if len(clause) > 60 or len(clause.split()) > 6:
        return _number(clause) or clause
    return clause


def _formula(text: str) -> str | None:
    """The last formula, or the number that the words behind it give."""
    formulas = _formulas(text)
    if not formulas:
        return None
    rest = text[formulas[-1].end :][:2000]
    said = list(_SAID_OF_IT.finditer(rest))
    if said and not _DENIED_AFTER.match(rest, said[-1].end()):
        return said[-1]["number"]
    return _last_formula(text, formulas)


def _last_formula(text: str, formulas: list[_Formula]) -> str | None:
    """The last formula, with those that are said before it ("$41$, $42$"): no single answer."""
    if not formulas:
        return None
    said = [formulas[-1].content]
    for one, other in reversed(list(pairwise(formulas))):
        if "=" in one.content or not _ALSO.fullmatch(text, one.end, other.start):
            break
        said.append(one.content)
    return ", ".join(reversed(said))


def _number(text: str) -> str | None:
    """The last number; none when it is a piece of an expression or of code."""
    numbers = list(_NUMBER.finditer(text[-4000:]))
    if not numbers:
        return None
    last = numbers[-1]
    rest = last.string
    if _DENIED_BEFORE.search(rest[: last.start()]) or _DENIED_AFTER.match(rest, last.end()):
        return None
    first = len(numbers) - 1
    while first and _OR.fullmatch(rest, numbers[first - 1].end(), numbers[first].start()):
        first -= 1
    if "or" in rest[numbers[first].start() : last.start()] or len(numbers) - first > 2:
        return rest[numbers[first].start() : last.end()]  # several answers
    around = last.string[last.start() - 1 : last.start()] + last.string[last.end() : last.end() + 1]
    return None if _OPERATORS & set(around) else last[0]
