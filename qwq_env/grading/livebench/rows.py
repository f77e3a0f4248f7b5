"""Stored answers as rows of a file: `{"question_id", "answer"}`, or as LiveBench has them.

Its own files of answers hold `{"question_id", "choices": [{"turns": [..., answer]}]}`.
"""

from pathlib import Path

from qwq_env.errors import UsageError, brief
from qwq_env.grading.livebench.grader import LiveBenchGrader
from qwq_env.grading.livebench.questions import read_questions
from qwq_env.grading.livebench.tasks import JUDGES
from qwq_env.grading.row_grader import Grader, Row
from qwq_env.grading.score import Score

__all__ = ["stored_answers"]


def stored_answers(place: Path) -> Grader:
    """What scores the rows, counts them by category and task, and knows how many there should be.

    `place` holds the questions. Raises `UsageError` as `read_questions` does.
    """
    grader = LiveBenchGrader(read_questions(place))

    def check(row: Row) -> None:
        grader.question(row.get("question_id"))
        _answer(row)

    async def grade(row: Row) -> Score:
        return await grader.grade(row["question_id"], _answer(row))

    def group(row: Row) -> tuple[str, ...] | None:
        question = grader.questions.get(str(row.get("question_id")))
        return None if question is None else (question["category"], question["task"])

    expected: dict[tuple[str, ...], list[str]] = {}
    for identity, question in grader.questions.items():
        if (task := (question["category"], question["task"])) in JUDGES:
            expected.setdefault(task, []).append(identity)
    return Grader(grade, check, group, expected)


def _answer(row: Row) -> str:
    answer = row.get("answer")
    if answer is None:
        try:
            answer = row["choices"][0]["turns"][-1]
        except (LookupError, TypeError):
            found = ", ".join(sorted(row))
            raise UsageError(f"answer: none; found {found!r:.200}; expected a text") from None
    if not isinstance(answer, str):
        raise UsageError(f"answer: {brief(answer)}; expected a text")
    return answer
