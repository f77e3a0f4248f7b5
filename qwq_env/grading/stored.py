"""Stored episodes of a run as rows that the graders read, so that they can be scored again.

An episode holds what was graded (`answer`, the text after the thinking) and what against
(`reference`). What else a grader needs, instructions or tests, lies with its task: `TaskRows`
gives it back by `task_id`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError, brief, describe_error
from qwq_env.files.jsonl import read_objects
from qwq_env.grading.score import Score
from qwq_env.short_rows import in_full

__all__ = ["TaskRows", "decided_by_outcome", "graded_row", "whole_row"]

Row = Mapping[str, Any]


class TaskRows:
    """The rows of a task file by the ids that its tasks have: `id`, or the file's name and line."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for a file that is no JSONL."""
        self._path = path
        self._rows: dict[str, Row] = {}
        for number, row in read_objects(path, field="tasks"):
            identity = row.get("id")
            self._rows[f"{path.stem}/{number}" if identity is None else str(identity)] = row

    def of(self, episode: Row) -> Row:
        """The row of an episode's task. Raises `UsageError` if the file has none."""
        if episode["task_id"] not in self._rows:
            raise UsageError(f"task_id: {brief(episode['task_id'])} is no task of {self._path}")
        return self._rows[episode["task_id"]]


def whole_row(row: Row) -> Row:
    """The row, or of a stored episode what its row says in short, in full.

    Raises `UsageError` for an episode that is damaged.
    """
    if not row.keys() >= {"schema", "task_id", "transcript"}:
        return row
    try:
        return in_full(row)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise UsageError(f"row: a damaged episode ({describe_error(error)})") from None


def graded_row(row: Row, tasks: TaskRows | None = None) -> Row:
    """The row, or for a stored episode, in full, the one that it stands for.

    An episode has `task_id`, `reference` and `answer` (or `task` and `completion`). Its answer
    becomes the `response`, its task's keys are added, and the kind of math is `boxed` as in
    training, for one that the engine wrote.
    """
    if "gold" in row:
        return row
    if "reference" in row and "answer" in row:
        known: Row = tasks.of(row) if tasks is not None and "task_id" in row else {}
        kind = "boxed" if isinstance(row.get("outcome"), dict) else "response"
        stands_for = {"gold": row["reference"], "response": row["answer"], "kind": kind}
        return {**known, **row, **stands_for}
    task = row.get("task")
    if isinstance(task, dict) and "answer" in task and "completion" in row:
        return {**row, "gold": task["answer"], "answer": row["completion"], "kind": "response"}
    return row


def decided_by_outcome(row: Row) -> Score | None:
    """The score of an episode that has nothing to grade, else None.

    One that a limit cut gave no final answer and is paid nothing, as in training; one that was
    lost by our machinery is undecided, whatever its last text says. One lost because its grader
    could not decide is graded.
    """
    outcome = row.get("outcome")
    if not isinstance(outcome, dict):
        return None
    kind, reason = outcome.get("kind"), str(outcome.get("reason"))
    if kind == "truncated":
        return Score.wrong("truncated", reason)
    if kind == "failed" and reason != "undecided":
        return Score.undecided("lost", reason)
    return None
