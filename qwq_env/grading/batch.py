"""Scores for a file of rows: checked first, graded side by side, written in order, resumable.

One JSON object a line goes in, the same object with `score` (null when undecided) and `reason`
comes out, on the same line of the output. A stored episode of a training run is a row too: what
was graded then is graded again (`stored`).
"""

import asyncio
import importlib
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from qwq_env.errors import UsageError, unknown
from qwq_env.grading.score import Score
from qwq_env.grading.stored import TaskRows, decided_by_outcome, graded_row
from qwq_env.jsonl import read_objects

__all__ = ["KINDS", "Grader", "Summary", "grade_file", "load_grader"]

KINDS: Mapping[str, str] = {
    "math": "qwq_env.grading.math",
    "code": "qwq_env.grading.code",
    "instructions": "qwq_env.grading.instructions",
    "calls": "qwq_env.grading.calls",
}
"""Kind of row → module with `async def grade_row(row) -> Score` and `check_row(row)`, which refuses
a malformed row by raising `UsageError` before anything is graded."""

IN_FLIGHT = 256
_ADDED = ("score", "reason")

Row = Mapping[str, Any]


class Grader(NamedTuple):
    """How rows of one kind are scored, and what refuses the malformed ones beforehand."""

    grade: Callable[[Row], Awaitable[Score]]
    check: Callable[[Row], None]


@dataclass(slots=True)
class Summary:
    """What a run counted: rows by verdict, reasons, the mean of the decided scores."""

    rows: int = 0
    resumed: int = 0
    undecided: int = 0
    total: float = 0.0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

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
        self.reasons[reason] += 1


def load_grader(kind: str) -> Grader:
    """The grader of a kind; only its own module is imported. Raises `UsageError`."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
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
) -> Summary:
    """Score every row of `source` into `out`, in order; `progress(summary, rows)` after each.

    With `resume`, rows whose scores stand in `out` already are kept; they must be those of the
    same file. `tasks` completes stored episodes. Raises `UsageError` for a file without rows or
    an `out` that cannot be written, and with `FILE:LINE` for a malformed row: then nothing of
    this run stays in `out`.
    """
    summary = Summary()
    began = time.monotonic()
    _check_place(source, out)
    rows = sum(1 for _ in _graded(source, grader, tasks))
    if not rows:
        raise UsageError(f"{source}: no rows; expected at least one")
    kept = _resumed(source, out, summary) if resume else _fresh(out)
    with out.open("r+b" if resume and out.exists() else "wb") as sink:
        sink.truncate(kept)
        sink.seek(kept)
        try:
            await _stream(source, sink, grader, summary, rows, progress, tasks)
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
) -> None:
    waiting: deque[tuple[int, Row, asyncio.Future[Score]]] = deque()

    async def write_first() -> None:
        number, row, task = waiting.popleft()
        try:
            score = await task
        except UsageError as error:
            raise UsageError(f"{source}:{number}: {error}") from error
        summary.count(score.value, score.reason)
        added = {"score": score.value, "reason": score.reason}
        sink.write(json.dumps({**row, **added}).encode() + b"\n")
        sink.flush()
        if progress is not None:
            progress(summary, rows)

    try:
        for place, (number, row) in enumerate(_rows(source)):
            if place < summary.resumed:
                continue
            score = asyncio.ensure_future(_score(graded_row(row, tasks), grader))
            waiting.append((number, row, score))
            if len(waiting) >= IN_FLIGHT:
                await write_first()
        while waiting:
            await write_first()
    finally:
        for _, _, task in waiting:
            task.cancel()


async def _score(row: Row, grader: Grader) -> Score:
    return decided_by_outcome(row) or await grader.grade(row)


def _rows(source: Path) -> Iterator[tuple[int, Row]]:
    # A stored episode may hold what Python writes for a log-probability of no number.
    return read_objects(source, constants=True)


def _graded(source: Path, grader: Grader, tasks: TaskRows | None) -> Iterator[Row]:
    """The rows as they are graded, each checked. Raises `UsageError` with `FILE:LINE`."""
    for number, row in _rows(source):
        try:
            graded = graded_row(row, tasks)
            grader.check(graded)
        except UsageError as error:
            raise UsageError(f"{source}:{number}: {error}") from error
        yield graded


def _check_place(source: Path, out: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"out: {out}; expected a file in a folder that is there")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"out: {out} is the file that is graded; expected another one")


def _fresh(out: Path) -> int:
    if out.is_file() and out.stat().st_size:
        raise UsageError(f"out: {out} exists; give --resume to continue it, or another name")
    return 0


def _resumed(source: Path, out: Path, summary: Summary) -> int:
    """Count what `out` holds already; returns the length in bytes that is whole."""
    if not out.exists():
        return 0
    whole = 0
    with out.open("rb") as written:
        for (number, row), line in zip(_rows(source), written, strict=False):
            if not line.endswith(b"\n"):
                break  # the line that was being written when the run ended
            try:
                scored = json.loads(line)
            except ValueError:
                break
            if not isinstance(scored, dict) or _bare(scored) != _bare(row):
                raise UsageError(f"out: {out} is not from a run over {source} (line {number})")
            summary.count(scored.get("score"), str(scored.get("reason")))
            whole += len(line)
    summary.resumed = summary.rows
    return whole


def _bare(row: Row) -> str:
    """What stood there before, as text: NaN is not equal to itself."""
    return json.dumps({name: value for name, value in row.items() if name not in _ADDED})
