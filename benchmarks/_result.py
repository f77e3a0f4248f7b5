"""Where the result of a benchmark goes: `--json`, `--out FILE`, or a table on the screen."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--out`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file")


def write(result: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Write the result where `--out` says, if it says so."""
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def deliver(result: Mapping[str, Any], options: argparse.Namespace, table: str) -> None:
    """Write the result, and print it: as JSON or as the table."""
    write(result, options)
    print(json.dumps(result) if options.json else table)


def listing(result: Mapping[str, Any]) -> str:
    """Return the table of a result that is no more than names and values."""
    width = max(map(len, result))
    return "\n".join(f"{name:<{width}} {value}" for name, value in result.items())
