"""Arguments that several subcommands take, and how they warn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from qwq_env.text.characters import printable


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add a recipe's file and the overrides of its keys."""
    parser.add_argument("recipe", type=Path, help="a YAML file, such as recipes/tiny.yaml")
    # With a default, argparse does not list them among the required ones.
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="such as grpo.steps=20"
    )


def warn(lines: Iterable[str]) -> None:
    """Say on standard error what is no fault, and to be known."""
    for line in lines:
        print(printable(f"qwq: warning: {line}", lines=False), file=sys.stderr)
