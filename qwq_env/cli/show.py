"""`qwq show RUN`: stored episodes as text, in colour, the ones that are asked for."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

from qwq_env.cli.episode_text import Styled, episode_text
from qwq_env.cli.selection import add_selection, name_damaged, selection_of
from qwq_env.errors import UsageError
from qwq_env.rollout.placed import PlacedSegment
from qwq_env.rollout.stored import RowError, StoredEpisode, StoredRun, finite
from qwq_env.text.terminal import drawing_stream


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq show`."""
    parser = subparsers.add_parser(
        "show",
        help="read the episodes of a run",
        description="Prints stored episodes as text: of a run's folder, of what qwq eval wrote, or"
        " of a file of episodes; also of a run that is going on. Example: qwq show runs/tiny --step"
        " 40 --worst 5. Exits with 1 if no episode meets the conditions.",
    )
    add_selection(parser)
    parser.add_argument("--worst", type=int, metavar="N", help="the N of the lowest rewards")
    parser.add_argument(
        "--everything", action="store_true", help="the dialect's marks, and all of the prompt"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object an episode")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the episodes; 0 if there are any."""
    if arguments.worst is not None and arguments.worst < 1:
        raise UsageError(f"worst: {arguments.worst}; expected a whole number of at least 1")
    stored = StoredRun.open(arguments.target)
    episodes = selection_of(arguments).of(stored)
    if arguments.json:
        for episode, known in _whole(stored, episodes):
            print(json.dumps(as_json(episode, known), ensure_ascii=False, default=str))
    else:
        everything = arguments.everything
        _page(
            part
            for e, _ in _whole(stored, episodes)
            for part in episode_text(e, everything=everything)
        )
    name_damaged(stored)
    if not episodes:
        there = len(stored.episodes())
        print(f"qwq: no episode meets these conditions, of {there} in {stored.path}",
              file=sys.stderr)  # fmt: skip
    return 0 if episodes else 1


def as_json(episode: StoredEpisode, segments: list[PlacedSegment]) -> dict[str, Any]:
    """Return an episode for a script: what stands in front of its row, and its segments."""
    trajectory = episode.trajectory
    return {
        **episode.head,
        "advantage": episode.advantage,
        "answer": trajectory.answer,
        "reference": trajectory.reference,
        "segments": [
            {k: v for k, v in segment._asdict().items() if v not in (None, "", 0.0) or k == "text"}
            for segment in segments
        ],
        **({"trainer": learned} if (learned := _learned(episode)) else {}),
        **({"messages": trajectory.messages} if trajectory.messages else {}),
        "file": str(episode.file),
        "line": episode.line,
    }


def _learned(episode: StoredEpisode) -> list[dict[str, Any]]:
    """Return the trainer's ratios and entropies of the rows of which they are known."""
    rows = [(row, episode.ratios(row)) for row in range(len(episode.trajectory.rows))]
    return [
        {"row": row, **{name: [*map(finite, values)] for name, values in found._asdict().items()}}
        for row, found in rows
        if found is not None
    ]


def _whole(
    stored: StoredRun, episodes: Iterable[StoredEpisode]
) -> Iterator[tuple[StoredEpisode, list[PlacedSegment]]]:
    """Yield the episodes whose rows can be read to the end; the others are damaged."""
    for episode in episodes:
        try:
            segments = episode.segments
        except RowError as error:
            stored.damaged.append(error.damaged)
            continue
        yield episode, segments
        episode.forget()


def _page(parts: Iterable[Styled]) -> None:
    """Write in colour through a pager on a terminal, and plainly elsewhere."""
    if not sys.stdout.isatty():
        for text, _ in parts:
            sys.stdout.write(text)
        return
    pager = shlex.split(os.environ.get("PAGER") or "less")
    if shutil.which(pager[0]) is None:
        _write(parts, drawing_stream(sys.stdout))
        return
    # Its own settings hold; without any: colours, and no pager for what fits on the screen.
    environment = {"LESS": "FRX", **os.environ}
    with subprocess.Popen(pager, stdin=subprocess.PIPE, text=True, encoding="utf-8",
                          errors="replace", env=environment) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            _write(parts, process.stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # who reads has seen enough
        while True:
            try:
                process.wait()
                return
            except KeyboardInterrupt:  # the pager's affair: it is still on the screen
                continue


def _write(parts: Iterable[Styled], stream: IO[str]) -> None:
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra has it
        from rich.text import Text  # noqa: PLC0415 - likewise
    except ModuleNotFoundError:
        for text, _ in parts:
            stream.write(text)
        return
    console = Console(file=stream, force_terminal="NO_COLOR" not in os.environ, soft_wrap=True)
    for text, style in parts:
        console.print(Text(text, style=style), end="", soft_wrap=True)
