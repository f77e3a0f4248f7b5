"""Stored answers to LiveBench's questions, scored by its rules.

The hops of an answer: `LiveBenchGrader.grade` → a worker of the pool → `judge` → the task's own
function; coding goes to `CodeGrader` and its sandbox instead.
"""

from collections.abc import Mapping
from typing import Self

from qwq_env.errors import UsageError, brief
from qwq_env.grading.code.grader import CodeGrader
from qwq_env.grading.livebench.coding import grade_program, program_problem
from qwq_env.grading.livebench.extract import without_thinking
from qwq_env.grading.livebench.questions import Question
from qwq_env.grading.livebench.tasks import CODING, JUDGES
from qwq_env.grading.pool import GraderPool, PoolSettings
from qwq_env.grading.score import Score

__all__ = ["MOST_CHARACTERS", "LiveBenchGrader"]

MOST_CHARACTERS = 2_000_000
"""Of a response that is looked at; a longer one is wrong, `too_long`."""

_DEADLINE_S = 120.0
_MEMORY_MB = 1024


class LiveBenchGrader:
    """Scores answers as LiveBench's own judges do. For evaluation, never as a reward.

        with LiveBenchGrader(read_questions(Path("live_bench"))) as grader:
            score = await grader.grade(question_id, answer)     # 0 to 1, or undecided

    An answer that costs a judge more than `cpu_s` of CPU time or a gigabyte is wrong,
    `too_complex`, unless the question costs as much without it. `code` runs the programs of the
    coding tasks; by default a `CodeGrader` of LiveCodeBench's rules over a sandbox of this machine.
    """

    def __init__(
        self,
        questions: Mapping[str, Question],
        workers: int = 2,
        cpu_s: float = 20.0,
        code: CodeGrader | None = None,
    ) -> None:
        self.questions = questions
        self._code = code
        self._pool = GraderPool(
            PoolSettings(
                "qwq_env.grading.livebench.judge:judge",
                workers=workers,
                cpu_s=cpu_s,
                deadline_s=_DEADLINE_S,
                memory_mb=_MEMORY_MB,
            )
        )

    def question(self, question_id: object) -> Question:
        """The question with that id. Raises `UsageError` if there is none, or no judge for it."""
        question = self.questions.get(question_id) if isinstance(question_id, str) else None
        if question is None:
            raise UsageError(f"question_id: {brief(question_id)} is none of the questions")
        task = question["category"], question["task"]
        if task not in JUDGES:
            known = ", ".join("/".join(one) for one in JUDGES)
            raise UsageError(f"task: {'/'.join(map(str, task))} has no judge; known: {known}")
        return question

    async def grade(self, question_id: str, answer: str) -> Score:
        """The score of a response, its thinking passed over. Raises as `question` does."""
        question = self.question(question_id)
        if len(answer) > MOST_CHARACTERS:
            return Score.wrong("too_long", f"{len(answer)} characters")
        if question["category"] == CODING:
            return await self._run(question, without_thinking(answer))
        score = await self._pool.grade(question, answer)
        if score.reason != "too_complex" or not answer:
            return score
        without = await self._pool.grade(question, "")
        return Score.wrong(score.reason, score.detail) if without.decided else without

    async def _run(self, question: Question, answer: str) -> Score:
        try:
            program_problem(question)
        except UsageError as error:
            return Score.undecided("unusable_question", str(error))
        if self._code is None:
            from qwq_env.sandbox import LocalSandbox  # noqa: PLC0415 - only coding needs one

            self._code = CodeGrader(LocalSandbox(), numbers="livecodebench")
        return await grade_program(self._code, question, answer)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
