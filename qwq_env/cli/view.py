"""`qwq view RUN`: episodes and curves as one HTML file that opens anywhere, offline."""

from __future__ import annotations

import argparse
import sys
import time
import webbrowser
from pathlib import Path

from qwq_env.errors import UsageError
from qwq_env.text.characters import printable
from qwq_env.viewer.source import find_source


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq view`."""
    parser = subparsers.add_parser(
        "view",
        help="write a run's episodes and curves as one HTML page",
        description="Writes one HTML file that holds everything and asks for nothing: the table of"
        " episodes, each one's transcript, tokens and times, its group side by side, why it was"
        " paid what it was, the curves, the tools' health. A run that is going on may be viewed.",
        epilog="example: qwq view runs/tiny --open",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN|FILE",
        help="a folder of `qwq train` or `qwq eval --out`, or files of episodes",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to (RUN/view.html, or beside the file)"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--limit", type=int, metavar="N", help="the last N episodes of each file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and say where; 0."""
    paths: list[Path] = arguments.paths
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"limit: {arguments.limit}; expected 1 or more")
    source = find_source(paths)
    # What is loaded from here on takes a while; what is not there is told before.
    from qwq_env.viewer.episodes import read_source  # noqa: PLC0415
    from qwq_env.viewer.page import default_path, write_page  # noqa: PLC0415

    out: Path = arguments.out or default_path(paths)
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"out: {out}; expected a file in a folder that is there")
    reading = read_source(source, limit=arguments.limit, tell=_Progress().tell)
    for note in reading.notes:
        print(f"qwq: note: {printable(note, lines=False)}", file=sys.stderr)
    written = write_page(out, source, reading)
    size = written.size / 1e6
    print(f"{printable(str(out))}: {written.episodes} episodes, {size:.1f} MB")
    if arguments.open:
        webbrowser.open(out.resolve().as_uri())
    return 0


class _Progress:
    """A line every two seconds, for what takes longer."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def tell(self, episodes: int) -> None:
        if time.monotonic() - self._told > 2:
            self._told = time.monotonic()
            print(f"qwq: {episodes} episodes read", file=sys.stderr)
