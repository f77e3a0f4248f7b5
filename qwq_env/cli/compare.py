"""`qwq compare RUN_A RUN_B ...`: evaluations held against each other and published figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from qwq_env.errors import UsageError
from qwq_env.imports import missing_extra
from qwq_env.text.characters import printable


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq compare`."""
    parser = subparsers.add_parser(
        "compare",
        help="hold evaluations against each other and published figures",
        description="Prints the accuracy of each run with its standard error by task, and each run"
        " against the first: the paired difference with a bootstrap interval over tasks, and which"
        " tasks flipped. A run is the folder of an evaluation, or a folder of such folders, one a"
        " benchmark.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="what qwq eval wrote")
    parser.add_argument("--json", action="store_true", help="print one JSON object, not tables")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page of it")
    parser.add_argument("--bars", type=Path, metavar="FILE.png", help="draw a picture of bars")
    parser.add_argument(
        "--no-published", action="store_true", help="leave out what was published elsewhere"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; 0, whatever the differences are."""
    # NumPy is loaded from here on.
    from qwq_env.evaluation.comparison import compare_runs  # noqa: PLC0415
    from qwq_env.evaluation.comparison_page import comparison_page  # noqa: PLC0415
    from qwq_env.evaluation.comparison_report import as_json, draw_bars, markdown  # noqa: PLC0415

    for name in ("markdown", "html", "bars"):
        path = getattr(arguments, name)
        if path is not None and not path.resolve().parent.is_dir():
            raise UsageError(f"{name}: {path}; expected a file in a folder that is there")
    comparison = compare_runs(arguments.runs)
    tables = markdown(comparison, published=not arguments.no_published)
    if arguments.markdown is not None:
        arguments.markdown.write_text(tables + "\n", encoding="utf-8")
    if arguments.html is not None:
        whole = comparison_page(comparison, published=not arguments.no_published)
        arguments.html.write_text(whole, encoding="utf-8")
    if arguments.bars is not None:
        try:
            draw_bars(comparison, arguments.bars)
        except ModuleNotFoundError as error:
            raise UsageError(f"bars: {missing_extra(error, 'train')}") from None
    print(json.dumps(as_json(comparison)) if arguments.json else printable(tables))
    return 0
