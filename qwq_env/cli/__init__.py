"""The `qwq` command: one module for each subcommand, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from qwq_env._version import __version__
from qwq_env.errors import QwqError, UsageError, unknown
from qwq_env.text.characters import printable
from qwq_env.text.terminal import printable_streams


class Command(NamedTuple):
    """A subcommand: its name, the module that holds `add_parser` and `run`, one line of help."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("train", "qwq_env.cli.train", "train a policy in an environment"),
    Command("recipe", "qwq_env.cli.recipe", "show a recipe, check it, explain its keys"),
    Command("plan", "qwq_env.cli.plan", "say what of a recipe fits on which GPUs"),
    Command("launch", "qwq_env.cli.launch", "start a recipe's servers and trainers"),
    Command("eval", "qwq_env.cli.eval", "measure a policy on a benchmark, or in an environment"),
    Command(
        "compare",
        "qwq_env.cli.compare",
        "hold evaluations against each other and published figures",
    ),
    Command("show", "qwq_env.cli.show", "read the episodes of a run"),
    Command("watch", "qwq_env.cli.watch", "watch a run on the terminal as it goes on"),
    Command("export", "qwq_env.cli.export", "write episodes in the form of another tool"),
    Command(
        "check", "qwq_env.cli.check", "hold a dialect, a template or a grader against the truth"
    ),
    Command("envs", "qwq_env.cli.envs", "list the environments, or show one"),
    Command("new", "qwq_env.cli.new", "begin an environment or a tool of your own"),
    Command(
        "regrade", "qwq_env.cli.regrade", "hold two graders against each other on stored episodes"
    ),
    Command("grade", "qwq_env.cli.grade", "score answers that lie in a file"),
    Command("view", "qwq_env.cli.view", "write a run's episodes and curves as one HTML page"),
    Command("sandbox", "qwq_env.cli.sandbox", "run code in the sandbox, serve it, show its levels"),
    Command("bench", "qwq_env.cli.bench", "run a benchmark of the checkout"),
)


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qwq", description="Train reasoning models to use tools, and check what they are paid."
    )
    parser.add_argument("--version", action="version", version=f"qwq-env {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if command.name == wanted:
            importlib.import_module(command.module).add_parser(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `qwq` and return the exit code.

    0: done. 1: the check failed, or the work did. 2: the input was wrong. 130: interrupted.
    Nothing that a file, a server or a model wrote acts on the terminal.
    """
    # Their bars are drawn with characters that are escaped here.
    os.environ.setdefault("TQDM_DISABLE", "1")
    with printable_streams():
        return _main(list(sys.argv[1:] if argv is None else argv))


def _main(arguments: list[str]) -> int:
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    names = [command.name for command in COMMANDS]
    if wanted is not None and wanted not in names:
        return _tell("error", unknown("command", wanted, names), 2)
    parser = _parser(wanted)
    parsed, rest = parser.parse_known_args(arguments)
    # argparse takes a list of positionals only in one stretch; overrides may follow options too.
    stray = [word for word in rest if word.startswith("-") or not hasattr(parsed, "overrides")]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        parsed.overrides += rest
    try:
        return int(parsed.run(parsed))
    except UsageError as error:
        return _tell("error", error, 2)
    except QwqError as error:
        return _tell("failed", error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away; that is no error of ours.
        sys.stderr.close()
        return 0
    except OSError as error:
        # A path that cannot be written, a full disk: for the operator to mend, not for us.
        return _tell("failed", error, 1)


def _tell(what: str, error: Exception, code: int) -> int:
    """Say in one line what is wrong; return the exit code."""
    print(f"qwq: {what}: {printable(str(error), lines=False)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
