"""Math answers: extraction, rules of equality, exact numbers at once and the rest in workers."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from qwq_env.grading.math.grader import BadReference, MathGrader
from qwq_env.grading.score import Score

__all__ = ["BadReference", "MathGrader", "grade_row"]


async def grade_row(row: Mapping[str, Any]) -> Score:
    """The score of a row `{"gold", "answer", "kind"}`; the kind is "answer" when there is none."""
    return await _grader().grade(row["gold"], row["answer"], row.get("kind", "answer"))


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader()
