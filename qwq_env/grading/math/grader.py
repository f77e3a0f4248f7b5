"""`MathGrader`: is this the reference answer?

The hops of a grade: `MathGrader.grade` → `response_answer` (which text is the answer) → `judge`
with exact arithmetic, in the caller's process → only when that does not decide, `judge_fully` in a
worker of the pool.
"""

from typing import Self

from qwq_env.errors import UsageError
from qwq_env.grading.math.judge import is_list, judge
from qwq_env.grading.math.oracle import ExactOracle, NeedsWorker
from qwq_env.grading.math.reference import examine
from qwq_env.grading.math.response import Kind, reference_answer, response_answer
from qwq_env.grading.pool import GraderPool, PoolSettings
from qwq_env.grading.score import Score

__all__ = ["BadReference", "MathGrader"]

_INLINE_CHARACTERS = 2_000
"""Longer pairs go to a worker at once: the caller's event loop is not the place to read them."""


class BadReference(UsageError):
    """A reference answer that no rule can read: every grade against it would be undecided."""


class MathGrader:
    """Accuracy of math answers: 1.0 for the reference answer, 0.0 for another one, or undecided.

        async with MathGrader() as grader:
            score = await grader.grade("\\\\frac12", "So it is \\\\boxed{0.5}.", kind="response")

    Rational numbers are decided here, without a process and without SymPy; the rest in `workers`
    processes (the `grading` extra) with `cpu_s` seconds of CPU time a call: seven times what the
    costliest of 1,900 honest pairs took. Beyond `deadline_s` wall seconds it was our machine that
    was slow. One grader serves a whole
    program, from coroutines and threads alike. With `boxed_only` a response without a box has no
    answer: what the training prompts ask for, and the stricter reward.
    """

    def __init__(
        self,
        workers: int = 2,
        deadline_s: float = 30.0,
        cpu_s: float = 1.0,
        boxed_only: bool = False,
    ) -> None:
        self.boxed_only = boxed_only
        self.pool = GraderPool(
            PoolSettings(
                "qwq_env.grading.math.judge:judge_fully",
                workers=workers,
                deadline_s=deadline_s,
                cpu_s=cpu_s,
            )
        )
        self._oracle = ExactOracle()

    async def grade(self, gold: str, answer: str, kind: Kind = "answer") -> Score:
        """The verdict on `answer` (kind "answer") or on the answer within a whole response.

        An answer that costs more than it is worth is wrong, `too_complex`; undecided it is only
        where the reference is the costly one.
        """
        reference, found = self._taken(gold, answer, kind)
        score = self._at_once(reference, found)
        if score is None:
            score = await self.pool.grade(reference, found)
        if score.reason == "too_complex":
            score = _blamed(score, await self.pool.grade(reference, None))
        return score.of(found)

    def grade_sync(self, gold: str, answer: str, kind: Kind = "answer") -> Score:
        """`grade` for plain threads."""
        reference, found = self._taken(gold, answer, kind)
        score = self._at_once(reference, found) or self.pool.run(reference, found)
        if score.reason == "too_complex":
            score = _blamed(score, self.pool.run(reference, None))
        return score.of(found)

    def validate_gold(self, gold: str) -> None:
        """Raise `BadReference` unless the reference answer can be graded against.

        Call it when a task set loads: a reference that does not parse would otherwise show up as
        an environment in which nothing is ever right. What passes is said in `reference`; words
        do. Only what math-verify has to read costs a process.
        """
        answer = reference_answer(gold)
        try:
            score = examine(answer, _pass_on)
        except NeedsWorker:
            score = self.pool.run(answer, None)
        if score.value != 1.0:
            raise BadReference(
                f"{gold!r:.80} cannot be graded against: {score.detail or score.reason}"
            )

    def close(self) -> None:
        """End the worker processes."""
        self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def _taken(self, gold: str, answer: str, kind: Kind) -> tuple[str, str | None]:
        """The texts that are compared; no answer is None."""
        reference = reference_answer(gold)
        several = kind != "answer" and len(reference) <= _INLINE_CHARACTERS and is_list(reference)
        return reference, response_answer(answer, kind, self.boxed_only, several=several)

    def _at_once(self, gold: str, answer: str | None) -> Score | None:
        """The verdict that needs no worker, or None."""
        if answer is None:
            return Score.wrong("no_answer", "the response gives no answer")
        if len(gold) + len(answer) <= _INLINE_CHARACTERS:
            try:
                return judge(gold, answer, self._oracle)
            except NeedsWorker:
                pass
        return None


def _blamed(score: Score, reference: Score) -> Score:
    """The verdict on a pair that was too complex, by that on its reference alone."""
    return Score.wrong(score.reason, score.detail) if reference.value == 1.0 else reference


def _pass_on(text: str) -> None:
    raise NeedsWorker
