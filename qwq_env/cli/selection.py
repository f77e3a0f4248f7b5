"""Which episodes of which run, as several subcommands are told."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from qwq_env.rollout.selection import Selection
from qwq_env.rollout.stored import StoredRun
from qwq_env.text.characters import printable

_MOST_NAMED: Final = 5


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add a run and the conditions that its episodes are to meet; see `Selection`."""
    parser.add_argument(
        "target", type=Path, metavar="RUN|FILE", help="a run's folder, or a file of episodes"
    )
    parser.add_argument("--phase", help="such as cold, grpo, trained, greedy")
    parser.add_argument("--step", type=int, help="the training step, as in metrics.jsonl: from 1")
    parser.add_argument("--task", help="a task's id, or a pattern such as 'gsm8k/*'")
    parser.add_argument("--reward", help="a number, a comparison such as '<0.5', or none: lost")
    parser.add_argument("--failure", help="such as truncated, tokens, failed, tool_error")
    parser.add_argument(
        "--text", metavar="PATTERN", help="a regular expression to find in the text"
    )


def selection_of(arguments: argparse.Namespace) -> Selection:
    """Return the conditions that were given."""
    names = ("phase", "step", "task", "reward", "failure", "text", "worst")
    return Selection(**{name: getattr(arguments, name, None) for name in names})


def name_damaged(stored: StoredRun) -> None:
    """Say on standard error which rows were passed over, and what else could not be read."""
    for note in stored.notes:
        print(printable(f"qwq: {note}", lines=False), file=sys.stderr)
    for file, line, reason in stored.damaged[:_MOST_NAMED]:
        told = printable(f"qwq: {file}:{line}: passed over: {reason}", lines=False)
        print(told, file=sys.stderr)
    if (more := len(stored.damaged) - _MOST_NAMED) > 0:
        print(f"qwq: {more} more rows were passed over", file=sys.stderr)
