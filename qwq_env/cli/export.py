"""`qwq export RUN --format hf|inspect|atif`: stored episodes in the form of another tool."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from qwq_env.cli.selection import add_selection, name_damaged, selection_of
from qwq_env.errors import UsageError
from qwq_env.export.folder import check_free, new_file, new_folder
from qwq_env.export.inspect_log import is_listed, log_name, write_inspect
from qwq_env.rollout.stored import RowError, StoredEpisode, StoredRun
from qwq_env.text.characters import printable

Write = Callable[[StoredRun, Iterable[StoredEpisode], Path], int]


class Format(NamedTuple):
    """What is written by default, and who opens it."""

    suffix: str
    opened: str


FORMATS: Final = {
    "hf": Format("-hf", "datasets.load_dataset('{out}')"),
    "inspect": Format(".json", "inspect view --log-dir {folder}"),
    "atif": Format("-atif", "one document an episode in {out}"),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq export`."""
    parser = subparsers.add_parser(
        "export",
        help="write episodes in the form of another tool",
        description="Writes stored episodes as a dataset of Hugging Face (hf), as a log of Inspect"
        " (inspect), or in the agent trajectory interchange format (atif). Example: qwq export"
        " runs/tiny --format hf --phase trained. Exits with 1 if no episode meets the conditions.",
    )
    add_selection(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="which form")
    parser.add_argument(
        "--out",
        type=Path,
        help="where to (a new name; by default RUN's with -hf or -atif, or behind a time; for"
        " inspect also a folder of logs)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write; 0 if there was anything to write."""
    stored = StoredRun.open(arguments.target)
    form = FORMATS[arguments.format]
    name = stored.path.stem if stored.kind == "file" else stored.name
    default = f"{name}{form.suffix}"
    if arguments.format == "inspect":
        default = log_name(stored, name)
    out: Path = arguments.out or Path(default)
    if arguments.format == "inspect" and out.is_dir():
        out /= default
    check_free(out)
    write = _writer(arguments.format)
    episodes = selection_of(arguments).of(stored)
    if not episodes:
        print("qwq: no episode meets these conditions; nothing is written", file=sys.stderr)
        return 1
    new = new_file if arguments.format == "inspect" else new_folder
    with new(out) as part:
        count = write(stored, _whole(stored, episodes), part)
    name_damaged(stored)
    opened = form.opened.format(out=out, folder=out.parent)
    if arguments.format == "inspect" and not is_listed(out):
        opened += f", once it is called {log_name(stored, name)}: others it does not list"
    print(printable(f"{count} episodes written to {out}: {opened}", lines=False))
    return 0


def _writer(name: str) -> Write:
    if name == "hf":
        try:
            from qwq_env.export.huggingface import write_huggingface  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            missing = f"{error.name} is not installed; pip install 'qwq-env[train]'"
            raise UsageError(f"format: {missing}") from None
        return write_huggingface
    from qwq_env.export.atif import write_atif  # noqa: PLC0415 - the one that is asked for

    return write_inspect if name == "inspect" else write_atif


def _whole(stored: StoredRun, episodes: Iterable[StoredEpisode]) -> Iterator[StoredEpisode]:
    """Yield the episodes whose rows can be read to the end; the others are damaged."""
    for episode in episodes:
        try:
            episode.trajectory  # noqa: B018 - decoded here, so that a writer may rely on it
        except RowError as error:
            stored.damaged.append(error.damaged)
            continue
        yield episode
