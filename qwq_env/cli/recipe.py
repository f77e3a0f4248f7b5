"""`qwq recipe show|check|explain RECIPE`: what a recipe says, and whether it can be run."""

from __future__ import annotations

import argparse
import json

from qwq_env.cli.arguments import add_recipe, warn
from qwq_env.text.characters import printable


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq recipe show`, `qwq recipe check` and `qwq recipe explain`."""
    parser = subparsers.add_parser(
        "recipe", help="show a recipe, check it, explain its keys", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    for name, run, help_ in (
        ("show", run_show, "print the whole recipe as YAML, every key written out"),
        ("check", run_check, "say in one line what is wrong; exit code 2 if something is"),
        ("explain", run_explain, "print each key, its value, where it came from, what it is"),
    ):
        action = actions.add_parser(name, help=help_)
        add_recipe(action)
        action.set_defaults(run=run)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the recipe as it would be run."""
    from qwq_env.training.recipe import dump_recipe, load_recipe  # noqa: PLC0415 - train extra

    print(dump_recipe(load_recipe(arguments.recipe, arguments.overrides)), end="")
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Check the recipe, its environment and the checkpoint's template; warn of what is unknown."""
    from qwq_env.training.recipe import load_recipe  # noqa: PLC0415 - train extra
    from qwq_env.training.recipe.check import check_recipe  # noqa: PLC0415 - likewise

    warn(check_recipe(load_recipe(arguments.recipe, arguments.overrides)))
    print(printable(f"{arguments.recipe}: ok", lines=False))
    return 0


def run_explain(arguments: argparse.Namespace) -> int:
    """Print a line a key."""
    from qwq_env.training.recipe.explain import explain  # noqa: PLC0415 - train extra
    from qwq_env.training.recipe.yaml_values import write_yaml  # noqa: PLC0415 - likewise

    keys = list(explain(arguments.recipe, arguments.overrides))
    for key in keys:
        # A mapping and a list on one line, as an override would say them.
        nested = isinstance(key.value, dict | list)
        text = json.dumps(key.value) if nested else write_yaml(key.value).removesuffix("...\n")
        value = " ".join(text.split())
        line = f"{key.name:<32}{value:<28} {key.origin:<9} {key.what}"
        print(printable(line, lines=False))
    return 0
