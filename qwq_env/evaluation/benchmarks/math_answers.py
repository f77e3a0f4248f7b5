"""What benchmarks of mathematics share: who judges, beside whom, what an answer votes for."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Final

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import math_row
from qwq_env.evaluation.benchmarks.protocol import BARE, QWQ_SOURCE, Protocol
from qwq_env.grading.answer import last_boxed
from qwq_env.grading.math import MathGrader
from qwq_env.grading.math.latex import canonical
from qwq_env.grading.math.parity import qwq_answer, qwq_same_number
from qwq_env.grading.score import Score
from qwq_env.rubric import Component, FinalTurn

MATH: Final = Protocol(
    prompt=f"the problem, then {INSTRUCTION.strip()!r}",
    extraction="the last box after the thinking",
    judge="qwq/MathTool-v0: equal as mathematics",
    metric="the share of right answers; QwQ publishes none, its sampling is taken",
    source=QWQ_SOURCE,
    arguments=BARE,
    read=math_row,
)
"""What protocols of mathematics share; each says what differs."""

BESIDE_QWQ: Final = f"{MATH.judge}; QwQ's own comparison beside it"


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
