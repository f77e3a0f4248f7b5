"""`qwq regrade RUN --rubric A --rubric B`: two graders on the same stored episodes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwq_env.errors import UsageError
from qwq_env.files.atomic import write_whole
from qwq_env.text.characters import printable

if TYPE_CHECKING:
    from qwq_env.evaluation.regrade import RegradedRow, Regrading
    from qwq_env.evaluation.statistics import Mean

_MOST_SHOWN = 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq regrade`."""
    parser = subparsers.add_parser(
        "regrade",
        help="hold two graders against each other on stored episodes",
        description="Judges the episodes of an evaluation by two rubrics and prints the rows on"
        " which they differ, with a paired test. A rubric is `stored` (what was paid),"
        " `environment` (its own, as it is now), one of its parts by name, or MODULE:FUNCTION, a"
        " reward function.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="what qwq eval wrote")
    parser.add_argument("--rubric", action="append", default=[], help="given twice")
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="write every row there")
    parser.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print; 0, whatever the graders say."""
    if len(arguments.rubric) != 2:
        raise UsageError(f"rubric: {len(arguments.rubric)} given; expected two")
    out: Path | None = arguments.out
    if out is not None and not out.resolve().parent.is_dir():
        raise UsageError(f"out: {out}; expected a file in a folder that is there")
    # What is loaded from here on takes seconds.
    from qwq_env.evaluation.regrade import regrade  # noqa: PLC0415

    found = regrade(arguments.folder, *arguments.rubric)
    if out is not None:
        write_whole(out, "".join(json.dumps(_row(row)) + "\n" for row in found.rows))
    print(json.dumps(_told(found)) if arguments.json else printable(_table(found)))
    return 0


def _row(row: RegradedRow) -> dict[str, Any]:
    scores = {
        name: {"score": score.value, "reason": score.reason}
        for name, score in (("first", row.first), ("second", row.second))
    }
    return {"task_id": row.task_id, "episode": row.episode, "answer": row.answer, **scores}


def _told(found: Regrading) -> dict[str, Any]:
    span = found.difference
    return {
        "rubrics": found.names,
        "episodes": len(found.rows),
        "lost": found.lost,
        "undecided": found.undecided,
        "means": found.means,
        "difference": None if span is None else span.value,
        "interval": None if span is None else span.interval,
        "p_value": found.p_value,
        "differing": [_row(row) for row in found.differing],
    }


def _table(found: Regrading) -> str:
    lines = [
        f"{name:<24} {_mean(mean)}, undecided {undecided}"
        for name, mean, undecided in zip(found.names, found.means, found.undecided, strict=True)
    ]
    if (span := found.difference) is not None and span.interval is not None:
        low, high = span.interval
        lines.append(f"{'difference':<24} {span.value:+.4f} (95 %: {low:+.4f} to {high:+.4f})")
    lines.append(f"{'McNemar, by episode':<24} p = {found.p_value:.3g}")
    lines.append(f"{'episodes':<24} {len(found.rows)}, and {found.lost} lost")
    lines.append(f"{'differing':<24} {len(found.differing)}")
    for row in found.differing[:_MOST_SHOWN]:
        scores = " and ".join(f"{s.value} ({s.reason})" for s in (row.first, row.second))
        tail = " ".join(row.answer.split())[-80:]
        lines.append(f"  {row.episode} of {row.task_id}: {scores}: ...{tail}")
    return "\n".join(lines)


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "none decided by both"
    error = "" if mean.error is None else f" ± {mean.error:.4f}"
    return f"{mean.value:.4f}{error}"
