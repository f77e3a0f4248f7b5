"""Math answers: extraction, rules of equality, exact numbers at once and the rest in workers."""

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, get_args

from qwq_env.errors import UsageError
from qwq_env.grading.math.grader import BadReference, MathGrader
from qwq_env.grading.math.reference import defect
from qwq_env.grading.math.response import Kind, reference_answer
from qwq_env.grading.score import Score

__all__ = ["BadReference", "MathGrader", "check_gold", "check_row", "grade_row"]


async def grade_row(row: Mapping[str, Any]) -> Score:
    """The score of a row `{"gold", "answer", "kind"}`; the kind is "answer" when there is none."""
    check_row(row)
    gold = str(row["gold"])
    score = await _grader().grade(gold, str(row["answer"]), row.get("kind", "answer"))
    if score.value == 0.0 and (broken := defect(reference_answer(gold))) is not None:
        return Score.undecided("bad_reference", broken)
    return score


def check_row(row: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless the row has a `gold` and an `answer` (text or number) and a kind.

    A gold that nothing can read is graded as text: the same text is right, and another answer is
    undecided (`bad_reference`). One such row must not keep the others from their scores.
    """
    try:
        _check_kind_of_gold(row.get("gold"))
    except BadReference as error:
        raise BadReference(f"gold: {error}") from None
    if not _is_text_or_number(row.get("answer")):
        raise UsageError(f"answer: {row.get('answer')!r:.80}; expected a text or a number")
    if row.get("kind", "answer") not in get_args(Kind):
        raise UsageError(f"kind: {row['kind']!r:.80}; expected one of {', '.join(get_args(Kind))}")


def check_gold(gold: object) -> None:
    """Raise `BadReference` unless a reference answer is a text or a finite number, and unbroken.

    For task sets, which must be mended before anything is learned from them.
    """
    _check_kind_of_gold(gold)
    broken = defect(reference_answer(str(gold)))
    if broken is not None:
        raise BadReference(f"{gold!r:.80} cannot be graded against: {broken}")


def _check_kind_of_gold(gold: object) -> None:
    if not _is_text_or_number(gold):
        raise BadReference(f"{gold!r:.80}; expected a text or a number")


def _is_text_or_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return isinstance(value, str) or number


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader()
