"""What benchmarks of mathematics share: who judges, beside whom, what an answer votes for."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from qwq_env.grading.answer import last_boxed
from qwq_env.grading.math import MathGrader
from qwq_env.grading.math.latex import canonical
from qwq_env.grading.math.parity import qwq_answer, qwq_same_number
from qwq_env.grading.score import Score
from qwq_env.rubric import Component, FinalTurn

BARE: Final[Mapping[str, Any]] = {"tools": ()}
"""Arguments of an environment in which the model has no tools, as in published figures."""

MATH_JUDGE: Final = "qwq/MathTool-v0: equal as mathematics; QwQ's own comparison beside it"


async def qwq_judged(final: FinalTurn) -> Score:
    """Judge as QwQ's published evaluation does, which takes 0.73 and 7300 for 73 too."""
    gold, answer = str(final.task.answer), qwq_answer(final.answer)
    same = qwq_same_number(answer, gold)
    if same is None and answer:
        return await _grader().grade(gold, answer)
    return Score.right() if same else Score.wrong("different" if answer else "no_answer")


QWQ_JUDGE: Final = Component("qwq_judge", qwq_judged, weight=0.0)
"""Judged beside the accuracy, and not paid."""


def box_vote(answer: str) -> str | None:
    """Return what the last box holds in one spelling, numbers as numbers; None without a box."""
    boxed = last_boxed(answer)
    if boxed is None or not boxed.strip():
        return None
    text = canonical(boxed).replace(" ", "")
    try:
        return str(Fraction(text)) if len(text) <= 100 and "e" not in text.lower() else text
    except (ValueError, ZeroDivisionError):
        return text


@lru_cache(maxsize=1)
def _grader() -> MathGrader:
    return MathGrader()
