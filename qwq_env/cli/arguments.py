"""Arguments that several subcommands take."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add a recipe's file and the overrides of its keys."""
    parser.add_argument("recipe", type=Path, help="a YAML file, such as recipes/tiny.yaml")
    # With a default, argparse does not list them among the required ones.
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="such as grpo.steps=20"
    )
