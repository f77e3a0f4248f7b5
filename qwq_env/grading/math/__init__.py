"""Math answers: extraction, rules of equality, exact numbers at once and the rest in workers."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.grading.math.grader import BadReference, MathGrader
from qwq_env.grading.score import Score

__all__ = ["BadReference", "MathGrader", "check_row", "grade_row"]


async def grade_row(row: Mapping[str, Any]) -> Score:
    """The score of a row `{"gold", "answer", "kind"}`; the kind is "answer" when there is none."""
    check_row(row)
    return await _grader().grade(str(row["gold"]), row["answer"], row.get("kind", "answer"))


def check_row(row: Mapping[str, Any]) -> None:
    """Raise `UsageError` unless the row has a `gold` (text or number), an `answer` and a kind."""
    gold = row.get("gold")
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise UsageError(f"gold: {gold!r:.80}; expected a text or a number")
    if not isinstance(row.get("answer"), str):
        raise UsageError(f"answer: {row.get('answer')!r:.80}; expected a text")
    if row.get("kind", "answer") not in ("answer", "response"):
        raise UsageError(f"kind: {row['kind']!r:.80}; expected 'answer' or 'response'")


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader()
