"""LiveBench's data analysis: cta and tablejoin here, tablereformat in `tables`.

For evaluation only. cta can be gamed: a response is right when it merely ends with the class. In
tablejoin a wrong pair costs as much as a missing one, so guessing pays where a column is unsure.
"""

import re
from collections.abc import Mapping
from typing import Any

from qwq_env.grading.livebench.extract import (
    UnreadableBox,
    between,
    boxed_content,
    plain,
    solutions,
)
from qwq_env.grading.score import Score
from qwq_env.text.python import read_literal

__all__ = ["column_class", "table_join"]

_NO_WORD = re.compile(r"\W")
_FENCES = ("```python", "```json", "```")
_QUOTED_IN_BOX = re.compile(r"""\\text\{['|"](.{0,500}?)['|"]\}""")
_MOST_LITERAL = 100_000
_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


def column_class(question: Mapping[str, Any], answer: str) -> Score:
    """cta: the name of a column's class ends the response, or the box; only letters count."""
    if "\\boxed{" in answer:
        box = boxed_content(answer)
        if box is None:
            raise UnreadableBox(answer[-40:])
        answer = plain(box)
    wanted, given = (_letters(text) for text in (question["ground_truth"], answer))
    if given == wanted or (wanted and given.endswith(wanted)):
        return Score.right()
    return Score.wrong("different", given[-80:])


def _letters(text: str) -> str:
    return _NO_WORD.sub("", text.lower().strip())


def table_join(question: Mapping[str, Any], answer: str) -> Score:
    """tablejoin: the F1 score of the pairs of columns, to two digits."""
    reference = question["ground_truth"]
    if isinstance(reference, str):
        reference = _literal(reference)
    if not isinstance(reference, dict):
        raise ValueError("ground_truth: expected a dictionary")
    pairs = _claimed_pairs(answer)
    if not pairs:
        return Score.wrong("no_answer")
    hits = misses = extra = 0
    for column, other in pairs.items():
        wanted = reference.get(column)
        hits += bool(wanted) and wanted == other
        extra += not wanted or wanted != other
        misses += bool(wanted) and wanted != other
    misses += sum(not pairs.get(column) for column in reference)
    # Rounded as NumPy does it, which the official judge uses.
    value = round(100 * 2 * hits / (2 * hits + extra + misses)) / 100
    if value == 1:
        return Score.right()
    return Score.partial(value, "different", f"{hits} right, {extra} wrong, {misses} missing")


def _claimed_pairs(answer: str) -> dict[Any, Any]:
    """The dictionary of the last solution tag, of the whole text, of a code block or a box."""
    while tagged := solutions(answer, across_lines=True):
        answer = tagged[-1].strip()
    found = _literal(answer)
    if found is None:
        line = answer.replace("\n", "")
        blocks = next((b for fence in _FENCES if (b := between(line, fence, "```"))), [])
        if not blocks and "\\boxed" in answer and (box := boxed_content(line)) is not None:
            blocks = [_QUOTED_IN_BOX.sub(r"'\1'", box).replace("\\", "")]
        found = _literal((blocks or [answer])[-1].replace("null", "None"))
    if not isinstance(found, dict):
        return {}
    return {column: other for column, other in found.items() if other is not None}


def _literal(text: str) -> Any:
    """The Python literal, None for what is none or far too long; nothing is executed."""
    if len(text) > _MOST_LITERAL:
        return None
    try:
        return read_literal(text)
    except _NO_LITERAL:
        return None
