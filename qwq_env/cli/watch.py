"""`qwq watch RUN`: a run on the terminal as it goes on."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from qwq_env.errors import UsageError
from qwq_env.rollout.stored import StoredRun
from qwq_env.text.terminal import drawing_stream


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq watch`."""
    parser = subparsers.add_parser(
        "watch",
        help="watch a run on the terminal as it goes on",
        description="Shows how far a run is, its curves, the health of its tools and its new"
        " episodes, and goes on until the run ends or Ctrl-C. Example: qwq watch runs/tiny. Where"
        " the output is no terminal, it is shown once.",
    )
    parser.add_argument(
        "target", type=Path, metavar="RUN|FILE", help="a run's folder, or a file of episodes"
    )
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="default: 1")
    parser.add_argument("--once", action="store_true", help="show it once and end")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the run until it ends, or until it is interrupted; 0."""
    if not 0.1 <= arguments.every <= 3600:
        raise UsageError(f"every: {arguments.every:g}; expected 0.1 to 3600 seconds")
    stored = StoredRun.open(arguments.target)
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra has it
        from rich.live import Live  # noqa: PLC0415 - likewise

        from qwq_env.cli.dashboard import Dashboard  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise UsageError(f"watch: {error.name} is not installed; pip install rich") from None
    dashboard = Dashboard(stored)
    dashboard.refresh()
    console = Console(file=drawing_stream(sys.stdout))
    if arguments.once or not console.is_terminal:
        console.print(dashboard.frame(console.width))
        return 0
    try:
        # The frame fills the screen; what was on it comes back at the end, with the last frame.
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not dashboard.ended:
                live.update(dashboard.frame(*console.size), refresh=True)
                time.sleep(arguments.every)
                dashboard.refresh()
    except KeyboardInterrupt:
        pass
    console.print(dashboard.frame(*console.size))
    return 0
