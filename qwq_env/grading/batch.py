"""Scores for a file of rows: checked first, graded side by side, written in order, resumable.

One JSON object a line goes in, the same object with `score` (null when undecided) and `reason`
comes out, on the same line of the output. A row that cannot be used is passed over, whatever its
kind: its score is null and its reason `unusable: why`. A stored episode of a training run is a
row too: what was graded then is graded again (`stored`).
"""

import asyncio
import importlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from qwq_env.errors import UsageError, unknown
from qwq_env.files.jsonl import read_object
from qwq_env.grading.row_grader import Grader, Row
from qwq_env.grading.score import Score
from qwq_env.grading.stored import TaskRows, decided_by_outcome, graded_row, whole_row

__all__ = ["KINDS", "LIVEBENCH", "Grader", "Summary", "Tally", "grade_file", "load_grader"]

KINDS: Mapping[str, str] = {
    "math": "qwq_env.grading.math",
    "code": "qwq_env.grading.code",
    "instructions": "qwq_env.grading.instructions",
    "calls": "qwq_env.grading.calls",
}
"""Kind of row → module with `async def grade_row(row) -> Score` and `check_row(row)`, which refuses
a row that cannot be used by raising `UsageError` before anything is graded."""

LIVEBENCH = "livebench"
"""The kind whose rows hold no more than an answer: its grader is made of the file of questions."""

IN_FLIGHT = 256
MOST_COMPLAINTS = 10
UNUSABLE = "unusable"
"""The reason of a row that cannot be graded; in the output a colon and the detail follow."""

_ADDED = ("score", "reason")
_SHOWN_OF_A_LINE = 200


class _Line(NamedTuple):
    """A line of the file: its number, the row as it is written, what is graded, or why not."""

    number: int
    row: Row
    graded: Row
    why: str | None


@dataclass(slots=True)
class Tally:
    """The verdicts of one part of the rows; `questions` are the ids that were answered."""

    rows: int = 0
    undecided: int = 0
    total: float = 0.0
    questions: set[str] = field(default_factory=set)

    @property
    def mean(self) -> float | None:
        """Mean score of the decided rows; None when there are none."""
        decided = self.rows - self.undecided
        return self.total / decided if decided else None


@dataclass(slots=True)
class Summary:
    """What a run counted: rows by verdict, reasons, the mean of the decided scores.

    Unusable rows are undecided too; `complaints` are the first of them, as `FILE:LINE: why`.
    `groups` are the parts that the kind of row has.
    """

    rows: int = 0
    resumed: int = 0
    unusable: int = 0
    undecided: int = 0
    total: float = 0.0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    groups: dict[tuple[str, ...], Tally] = field(default_factory=dict)

    @property
    def decided(self) -> int:
        """Rows with a score."""
        return self.rows - self.undecided

    @property
    def mean(self) -> float | None:
        """Mean score of the decided rows; None when there are none."""
        return self.total / self.decided if self.decided else None

    def count(self, value: float | None, reason: str) -> None:
        """Add one verdict."""
        self.rows += 1
        self.undecided += value is None
        self.total += value or 0.0
        unusable = value is None and reason.startswith(f"{UNUSABLE}: ")
        self.unusable += unusable
        self.reasons[UNUSABLE if unusable else reason] += 1

    def count_in(self, group: tuple[str, ...] | None, row: Row, value: float | None) -> None:
        """Add one verdict to the part that the row is of, if it is of any."""
        if group is None:
            return
        tally = self.groups.setdefault(group, Tally())
        tally.rows += 1
        tally.undecided += value is None
        tally.total += value or 0.0
        tally.questions.add(str(row.get("question_id")))

    def complain(self, complaint: str, strict: bool) -> None:
        """Note a row that cannot be used; `strict` raises `UsageError` instead."""
        if strict:
            raise UsageError(complaint)
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(complaint)


def load_grader(kind: str, questions: Path | None = None) -> Grader:
    """The grader of a kind; only its own module is imported. Raises `UsageError`.

    `livebench` needs the file or folder of its `questions`, and no other kind has any.
    """
    if kind not in (*KINDS, LIVEBENCH):
        raise unknown("kind", kind, [*KINDS, LIVEBENCH])
    if (questions is None) == (kind == LIVEBENCH):
        told = "none" if questions is None else str(questions)
        raise UsageError(
            f"questions: {told}; expected LiveBench's, for the kind {LIVEBENCH!r} only"
        )
    if questions is not None:
        rows = importlib.import_module("qwq_env.grading.livebench.rows")
        grader: Grader = rows.stored_answers(questions)
        return grader
    try:
        module = importlib.import_module(KINDS[kind])
    except ModuleNotFoundError as error:
        raise UsageError(f"kind: {kind!r} needs {error.name!r}, which is not installed") from error
    return Grader(module.grade_row, module.check_row)


async def grade_file(
    source: Path,
    out: Path,
    grader: Grader,
    resume: bool = False,
    progress: Callable[[Summary, int], None] | None = None,
    tasks: TaskRows | None = None,
    strict: bool = False,
) -> Summary:
    """Score every row of `source` into `out`, in order; `progress(summary, rows)` after each.

    With `resume`, rows whose scores stand in `out` already are kept; they must be those of the
    same file. `tasks` completes stored episodes. A row that cannot be used, or a line that is no
    row, is passed over; `strict` makes it end the run. Raises `UsageError` for a file without
    rows or without one that can be used, for an `out` that cannot be written, and, with
    `FILE:LINE`, for what ends the run: then nothing of this run stays in `out`.
    """
    summary = Summary()
    began = time.monotonic()
    _check_place(source, out)
    rows = _check_rows(source, grader, tasks, strict)
    kept = _resumed(source, out, summary, grader) if resume else _fresh(out)
    with out.open("r+b" if resume and out.exists() else "wb") as sink:
        sink.truncate(kept)
        sink.seek(kept)
        try:
            await _stream(source, sink, grader, summary, rows, progress, tasks, strict)
        except UsageError:
            sink.truncate(kept)
            raise
    summary.seconds = time.monotonic() - began
    return summary


async def _stream(
    source: Path,
    sink: IO[bytes],
    grader: Grader,
    summary: Summary,
    rows: int,
    progress: Callable[[Summary, int], None] | None,
    tasks: TaskRows | None,
    strict: bool,
) -> None:
    waiting: deque[tuple[_Line, asyncio.Future[Score]]] = deque()

    async def write_first() -> None:
        line, task = waiting.popleft()
        try:
            score = await task
        except UsageError as error:
            raise UsageError(f"{source}:{line.number}: {error}") from error
        reason = score.reason
        if reason == UNUSABLE:
            reason = f"{UNUSABLE}: {score.detail}"
            summary.complain(f"{source}:{line.number}: {score.detail}", strict)
        summary.count(score.value, reason)
        summary.count_in(grader.group(line.row), line.row, score.value)
        added = {"score": score.value, "reason": reason}
        sink.write(json.dumps({**line.row, **added}).encode() + b"\n")
        sink.flush()
        if progress is not None:
            progress(summary, rows)

    try:
        for place, line in enumerate(_lines(source, grader, tasks)):
            if place < summary.resumed:
                continue
            waiting.append((line, asyncio.ensure_future(_score(line, grader))))
            if len(waiting) >= IN_FLIGHT:
                await write_first()
        while waiting:
            await write_first()
    finally:
        for _, task in waiting:
            task.cancel()


async def _score(line: _Line, grader: Grader) -> Score:
    if line.why is not None:
        return Score.undecided(UNUSABLE, line.why)
    return decided_by_outcome(line.graded) or await grader.grade(line.graded)


def _lines(source: Path, grader: Grader, tasks: TaskRows | None) -> Iterator[_Line]:
    """The lines of the file, blank ones passed over, each as it is graded and checked.

    Raises `UsageError` with `FILE:LINE` for an episode whose task is not among `tasks`: then it
    is not the row that is wrong.
    """
    for number, text in _texts(source):
        row, why = _row(text)
        graded = row
        if why is None:
            try:
                graded = whole_row(row)
            except UsageError as error:
                why = str(error)
        if why is None:
            try:
                graded = graded_row(graded, tasks)
            except UsageError as error:
                raise UsageError(f"{source}:{number}: {error}") from error
            try:
                grader.check(graded)
            except UsageError as error:
                why = str(error)
        yield _Line(number, row, graded, why)


def _row(text: bytes) -> tuple[Row, str | None]:
    """The object of a line; for a line that holds none, what is written in its place, and why."""
    try:
        # A stored episode may hold what Python writes for a log-probability of no number.
        return read_object(text, constants=True), None
    except UsageError as error:
        shown = text.decode("utf-8", "backslashreplace").strip()
        return {"line": shown[:_SHOWN_OF_A_LINE]}, str(error)


def _texts(source: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with source.open("rb") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip():
                    yield number, text
    except OSError as error:
        raise UsageError(f"file: {source}: {error.strerror}; expected a JSONL file") from None


def _check_rows(source: Path, grader: Grader, tasks: TaskRows | None, strict: bool) -> int:
    """Count the rows. Raises `UsageError` if none can be used, or strictly if one cannot."""
    rows, usable, first = 0, 0, ""
    for line in _lines(source, grader, tasks):
        rows += 1
        usable += line.why is None
        if line.why is not None:
            first = first or f"{source}:{line.number}: {line.why}"
        if strict and first:
            raise UsageError(first)
    if not rows:
        raise UsageError(f"{source}: no rows; expected at least one")
    if not usable:
        raise UsageError(f"no row can be used; {first}")
    return rows


def _check_place(source: Path, out: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"out: {out}; expected a file in a folder that is there")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"out: {out} is the file that is graded; expected another one")


def _fresh(out: Path) -> int:
    if out.is_file() and out.stat().st_size:
        raise UsageError(f"out: {out} exists; give --resume to continue it, or another name")
    return 0


def _resumed(source: Path, out: Path, summary: Summary, grader: Grader) -> int:
    """Count what `out` holds already; returns the length in bytes that is whole."""
    if not out.exists():
        return 0
    whole = 0
    with out.open("rb") as written:
        for (number, text), line in zip(_texts(source), written, strict=False):
            if not line.endswith(b"\n"):
                break  # the line that was being written when the run ended
            try:
                scored = json.loads(line)
            except ValueError:
                break
            if not isinstance(scored, dict) or _bare(scored) != _bare(_row(text)[0]):
                raise UsageError(f"out: {out} is not from a run over {source} (line {number})")
            summary.count(scored.get("score"), str(scored.get("reason")))
            summary.count_in(grader.group(scored), scored, scored.get("score"))
            whole += len(line)
    summary.resumed = summary.rows
    return whole


def _bare(row: Row) -> str:
    """What stood there before, as text: NaN is not equal to itself."""
    return json.dumps({name: value for name, value in row.items() if name not in _ADDED})
