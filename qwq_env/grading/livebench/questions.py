"""LiveBench's question files, as published: JSON lines or parquet, one folder a task or all in one.

The hub's tables (`livebench/math` and so on) and the `question.jsonl` files of the project have the
same columns; dates are timestamps in the first and texts in the second.
"""

import datetime
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError, brief, did_you_mean
from qwq_env.files.jsonl import read_objects
from qwq_env.grading.livebench.tasks import CODING, JUDGES, RELEASE_DATE

__all__ = ["Question", "read_questions"]

Question = Mapping[str, Any]

_ALWAYS = ("question_id", "category", "task", "turns", RELEASE_DATE)
_BY_TASK: Mapping[str, tuple[str, ...]] = {
    "coding": ("public_test_cases", "private_test_cases", "original_json"),
    "instruction_following": ("instruction_id_list", "kwargs"),
    "math_comp": ("ground_truth", "subtask"),
}
"""Columns by task, else by category; every other task has `ground_truth`."""

_OPTIONAL = ("partial_solution", "livebench_removal_date")
_SUFFIXES = (".jsonl", ".parquet")


def read_questions(place: Path) -> dict[str, Question]:
    """The questions of a file, or of all files below a folder, by their ids.

    Of tasks that have no judge here the questions are kept too: an answer to one is named then.
    Only the columns that a judge reads are kept. Raises `UsageError`, with the file and the row,
    for a file that cannot be read, an id that stands for two questions, and a row that lacks a
    column: it names the columns found and wanted, and the nearest to what is missing.
    """
    questions: dict[str, Question] = {}
    for path in _files(place):
        for number, row in _rows(path):
            where = f"{path}:{number}"
            question = _question(row, where)
            identity = question["question_id"]
            if questions.setdefault(identity, question) != question:
                raise UsageError(f"{where}: question_id {brief(identity)} stands for another too")
    if not questions:
        raise UsageError(f"questions: {place}: no questions; expected {_EXPECTED}")
    return questions


_EXPECTED = f"LiveBench's question files ({', '.join(_SUFFIXES)})"


def _files(place: Path) -> list[Path]:
    if place.is_file():
        if place.suffix not in _SUFFIXES:
            raise UsageError(f"questions: {place}; expected {_EXPECTED}")
        return [place]
    found = sorted(path for path in place.rglob("*") if path.suffix in _SUFFIXES)
    # The project keeps answers and judgements beside the questions, in files of the same kind.
    named = [path for path in found if path.suffix == ".parquet" or path.stem == "question"]
    if not found:
        raise UsageError(f"questions: {place}; expected a folder with {_EXPECTED}")
    return named or found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".jsonl":
        yield from read_objects(path, field="questions")
        return
    try:
        arrow = importlib.import_module("pyarrow")  # optional, and heavy
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(f"questions: {path}: parquet needs pyarrow (extra train)") from None
    try:
        with parquet.ParquetFile(path) as table:
            batches = table.iter_batches(batch_size=16)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"questions: {path}: {str(error).splitlines()[0]}") from None


def _question(row: Mapping[str, Any], where: str) -> Question:
    category, task = str(row.get("category")), str(row.get("task"))
    wanted = [*_ALWAYS]
    if (category, task) in JUDGES:
        wanted += _BY_TASK.get(task, _BY_TASK.get(category, ("ground_truth",)))
    else:
        wanted = ["question_id", "category", "task"]
    found = [name for name, value in row.items() if value is not None]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UsageError(
            f"{where}: no {missing[0]}{did_you_mean(missing[0], found)}; "
            f"found {', '.join(sorted(found))!r:.200}; expected {', '.join(wanted)}"
        )
    question = {name: _plain(row[name]) for name in (*wanted, *_OPTIONAL) if name in row}
    if not isinstance(question["question_id"], str):
        raise UsageError(f"{where}: question_id {brief(question['question_id'])}; expected a text")
    if "turns" in question and not _is_texts(question["turns"]):
        raise UsageError(f"{where}: turns {brief(question['turns'])}; expected a list of texts")
    if category != CODING and not isinstance(question.get(RELEASE_DATE, ""), str):
        raise UsageError(f"{where}: {RELEASE_DATE} {brief(question[RELEASE_DATE])}; expected a day")
    return question


def _plain(value: Any) -> Any:
    """A timestamp as the day that it is."""
    return value.strftime("%Y-%m-%d") if isinstance(value, datetime.date) else value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
