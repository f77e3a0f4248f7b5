"""`qwq grade KIND FILE --out F`: score, or score again, the answers that lie in a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from qwq_env.grading.batch import KINDS, LIVEBENCH, Grader, Summary, grade_file, load_grader
from qwq_env.grading.stored import TaskRows
from qwq_env.text.characters import printable
from qwq_env.text.terminal import drawing_stream

_REDRAW_S = 0.1
_BAR = 24
_FORMS = (
    'math: {"gold", "answer", "kind": "answer" | "response" | "boxed"}; code: a published row with '
    'its "response"; instructions: an IFEval row with "response"; calls: a BFCL row with '
    '"ground_truth" and "calls" or "response"; livebench: {"question_id", "answer"}, or a file of '
    "answers as LiveBench stores them; any: an episode of episodes.jsonl"
)
_MOST_NAMED = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq grade`."""
    parser = subparsers.add_parser(
        "grade",
        help="score answers that lie in a file",
        description="Score the rows of a JSONL file, or the stored episodes of a training run. "
        "Each row comes out with `score` (null when undecided) and `reason` added. A row that "
        "cannot be used is told, counted and passed over: its score is null, its reason begins "
        "with `unusable:`. Exit code 0: the file is graded, rows passed over included. 2: nothing "
        "is written, because no row can be used, or with --strict because one cannot.",
    )
    parser.add_argument("kind", choices=[*KINDS, LIVEBENCH], help="what the rows are")
    parser.add_argument("file", type=Path, help=_FORMS)
    parser.add_argument("--out", type=Path, required=True, help="where the scored rows go")
    parser.add_argument(
        "--tasks", type=Path, help="stored episodes: the task file, for what their answers lack"
    )
    parser.add_argument(
        "--questions",
        type=Path,
        help="livebench: its questions as published, a JSONL or parquet file or a folder of them",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue an output that was interrupted"
    )
    parser.add_argument(
        "--strict", action="store_true", help="end the run at the first row that cannot be used"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Grade the file and print the summary. Exit code 0, whatever the scores are."""
    grader = load_grader(arguments.kind, arguments.questions)
    tasks = TaskRows(arguments.tasks) if arguments.tasks else None
    line = _ProgressLine() if sys.stderr.isatty() else None
    try:
        summary = asyncio.run(
            grade_file(
                arguments.file,
                arguments.out,
                grader,
                resume=arguments.resume,
                progress=line.show if line else None,
                tasks=tasks,
                strict=arguments.strict,
            )
        )
    finally:
        if line:
            line.clear()
    _tell_unusable(summary)
    _tell_unanswered(summary, grader)
    print(_table(summary))
    if summary.groups:
        print(f"\n{_parts_table(summary)}")
    return 0


def _tell_unusable(summary: Summary) -> None:
    for complaint in summary.complaints:
        # What stands in a foreign file may hold what a terminal obeys.
        print(f"qwq: passed over: {_printable(complaint)}", file=sys.stderr)
    if more := summary.unusable - len(summary.complaints):
        print(f"qwq: passed over: {more} more", file=sys.stderr)


def _tell_unanswered(summary: Summary, grader: Grader) -> None:
    """Name the questions without an answer, of those tasks that have answers."""
    for group, tally in summary.groups.items():
        wanted = grader.expected.get(group, ())
        missing = [identity for identity in wanted if identity not in tally.questions]
        if missing:
            named = ", ".join(map(_printable, missing[:_MOST_NAMED]))
            more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
            task = _printable("/".join(group))
            print(f"qwq: {task}: {len(missing)} without an answer: {named}{more}", file=sys.stderr)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _ProgressLine:
    """One line on the terminal, drawn again a few times a second."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.drawn = 0.0
        self.stream = drawing_stream(sys.stderr)

    def show(self, summary: Summary, rows: int) -> None:
        now = time.monotonic()
        if now - self.drawn < _REDRAW_S and summary.rows < rows:
            return
        self.drawn = now
        filled = _BAR * summary.rows // max(rows, 1)
        rate = (summary.rows - summary.resumed) / max(now - self.began, 1e-9)
        bar = "#" * filled + "." * (_BAR - filled)
        self.stream.write(
            f"\r[{bar}] {summary.rows}/{rows}  {rate:,.0f}/s  mean {_number(summary.mean)}"
            f"  undecided {summary.undecided}\x1b[K"
        )
        self.stream.flush()

    def clear(self) -> None:
        self.stream.write("\r\x1b[K")
        self.stream.flush()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _table(summary: Summary) -> str:
    resumed = f" ({summary.resumed} kept from before)" if summary.resumed else ""
    lines = [
        f"rows       {summary.rows}{resumed}",
        f"mean score {_number(summary.mean)}",
        f"undecided  {summary.undecided}",
        f"unusable   {summary.unusable}",
        f"seconds    {summary.seconds:.1f}",
        "",
        "reason                rows",
    ]
    # The reasons of an output that is continued are a file's, and anyone's text.
    lines += [
        f"{printable(reason, lines=False):<20} {count:>5}"
        for reason, count in summary.reasons.most_common()
    ]
    return "\n".join(lines)


def _parts_table(summary: Summary) -> str:
    """Rows and means of each task, and of each category the mean of its tasks, as published."""
    lines = [f"{'category / task':<40} {'rows':>5} {'undecided':>9} {'mean':>8}"]
    by_category: dict[str, list[float | None]] = {}
    for group, tally in sorted(summary.groups.items()):
        by_category.setdefault(group[0], []).append(tally.mean)
        name = printable(" / ".join(group), lines=False)
        counts = f"{tally.rows:>5} {tally.undecided:>9}"
        lines.append(f"{name:<40} {counts} {_number(tally.mean):>8}")
    means = {category: _mean(tasks) for category, tasks in by_category.items()}
    for category, mean in {**means, "mean of categories": _mean([*means.values()])}.items():
        lines.append(f"{printable(category, lines=False):<56} {_number(mean):>8}")
    return "\n".join(lines)


def _mean(values: list[float | None]) -> float | None:
    """None as soon as one of the parts has no mean: the whole would be another quantity."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
