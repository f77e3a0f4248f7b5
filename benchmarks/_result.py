"""Where the result of a benchmark goes: `--json`, `--out FILE`, or a table on the screen.

Every benchmark hands what it measures to `run`, so the rules are here: with `--json` standard
output gets one line and nothing else, whoever prints meanwhile; and each result says how it was
come by: the command, the machine, the versions of what was imported.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]

IMPORTED = {
    "accelerate": "accelerate", "aiohttp": "aiohttp", "datasets": "datasets", "h11": "h11",
    "gymnasium": "gymnasium", "httpx": "httpx", "math_verify": "math-verify", "openai": "openai",
    "sympy": "sympy", "torch": "torch", "transformers": "transformers", "trl": "trl",
}  # fmt: skip
"""The modules whose versions bear on a figure, and the distributions that they come from."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--out`."""
    parser.set_defaults(parser=parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file")


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    measure: Callable[[argparse.Namespace], Result],
    table: Callable[[Result], str] | None = None,
) -> Result:
    """Parse, measure, and deliver what was found; return it.

    What is printed while `measure` runs, by this process or by one that it starts, goes to
    standard error.
    """
    add_options(parser)
    options = parser.parse_args(argv)
    with _nothing_on_stdout():
        found = measure(options)
    deliver(found, options, (table or listing)(found))
    return found


def deliver(result: Result, options: argparse.Namespace, table: str) -> None:
    """Write the result, and print it: as JSON on one line, or as the table."""
    write(result, options)
    print(json.dumps(told(result, options)) if options.json else table)


def write(result: Result, options: argparse.Namespace) -> None:
    """Write the result where `--out` says, if it says so."""
    if options.out:
        text = json.dumps(told(result, options), indent=2)
        options.out.write_text(text + "\n", encoding="utf-8")


def told(result: Result, options: argparse.Namespace) -> dict[str, Any]:
    """Return the result with the command, the machine and the versions before it.

    Versions that the result has itself are kept: those of a peer in an environment of its own.
    """
    versions = {
        name: metadata.version(name) for module, name in IMPORTED.items() if module in sys.modules
    }
    return {
        "command": command(options),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": platform.machine(),
            "kernel": platform.release(),
        },
        **result,
        "versions": {"python": platform.python_version(), **versions, **result.get("versions", {})},
    }


def command(options: argparse.Namespace) -> str:
    """Return the command that asks for the same: its name and each option that is no default."""
    parser: argparse.ArgumentParser = options.parser
    words = [parser.prog]
    for action in parser._actions:
        value = getattr(options, action.dest, action.default)
        if action.dest in ("json", "out", "help") or value == action.default:
            continue
        if action.option_strings:
            words.append(action.option_strings[0])
        if not isinstance(value, bool):
            words += map(str, value if isinstance(value, list) else [value])
    return " ".join(words)


def listing(result: Result) -> str:
    """Return the table of a result that is no more than names and values."""
    width = max(map(len, result))
    return "\n".join(f"{name:<{width}} {value}" for name, value in result.items())


@contextlib.contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """Send what this process and its children print to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
