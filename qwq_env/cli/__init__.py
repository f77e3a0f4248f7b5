"""The `qwq` command: one module for each subcommand, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

from qwq_env._version import __version__
from qwq_env.errors import QwqError, UsageError, unknown
from qwq_env.imports import current_folder
from qwq_env.text.characters import printable
from qwq_env.text.terminal import printable_streams, usable_streams


class Command(NamedTuple):
    """A subcommand: its name, one line of help, and lines that show it at work.

    `qwq_env.cli.NAME` holds its `add_parser` and `run`.
    """

    name: str
    help: str
    examples: tuple[str, ...]

    def add_to(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add it with all of its options."""
        importlib.import_module(f"qwq_env.cli.{self.name}").add_parser(subparsers)
        parser = subparsers.choices[self.name]
        parser.formatter_class = _Help
        parser.epilog = "\n".join(("examples:", *(f"  {line}" for line in self.examples)))


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line, without all of its options above it."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        raise SystemExit(_tell("error", UsageError(f"{message}; see {self.prog} --help"), 2))


class _Help(argparse.RawDescriptionHelpFormatter):
    """Fills the description, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(("examples:", "exit codes:")):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


COMMANDS = (
    Command(
        "train",
        "train a policy in an environment",
        ("qwq train recipes/tiny.yaml", "qwq train recipes/tiny.yaml grpo.steps=20 --resume"),
    ),
    Command(
        "recipe",
        "show a recipe, check it, explain its keys",
        ("qwq recipe check recipes/qwq-32b.yaml", "qwq recipe explain recipes/tiny.yaml"),
    ),
    Command(
        "plan",
        "say what of a recipe fits on which GPUs",
        ("qwq plan recipes/qwq-32b-lora.yaml --gpus 8xH100",),
    ),
    Command(
        "launch",
        "start a recipe's servers and trainers",
        ("qwq launch recipes/qwq-32b-lora.yaml --dry-run",),
    ),
    Command(
        "eval",
        "measure a policy on a benchmark, or in an environment",
        (
            "qwq eval aime24 --vllm http://localhost:8000 --out evals/aime24",
            "qwq eval qwq/MathTool-v0 --checkpoint runs/tiny/policy --out evals/math --resume",
            "qwq eval gsm8k --answers answers.jsonl --out evals/stored",
        ),
    ),
    Command(
        "compare",
        "hold evaluations against each other and published figures",
        ("qwq compare evals/before evals/after",),
    ),
    Command(
        "show",
        "read the episodes of a run",
        ("qwq show runs/tiny --step 40 --worst 5", 'qwq show runs/tiny --text "144" --json'),
    ),
    Command(
        "view",
        "write a page that shows the episodes of a run",
        ("qwq view runs/tiny", "qwq view evals/before evals/after --out both.html"),
    ),
    Command("watch", "watch a run on the terminal as it goes on", ("qwq watch runs/tiny",)),
    Command(
        "export",
        "write episodes in the form of another tool",
        ("qwq export runs/tiny --format hf --out tiny-episodes",),
    ),
    Command(
        "check",
        "hold a thing of yours, or a template, against the truth",
        ("qwq check grader qwq/MathTool-v0", "qwq check my_tools:population"),
    ),
    Command(
        "envs",
        "list the environments, or show one",
        ("qwq envs", "qwq envs qwq/SearchTool-v0"),
    ),
    Command(
        "new",
        "begin an environment or a tool of your own",
        ("qwq new env shelf", "qwq new tool weather"),
    ),
    Command(
        "regrade",
        "hold two graders against each other on stored episodes",
        ("qwq regrade evals/math --rubric stored --rubric my_rewards:strict",),
    ),
    Command(
        "grade",
        "score answers that lie in a file",
        ("qwq grade math answers.jsonl --out graded.jsonl",),
    ),
    Command(
        "sandbox",
        "run code in the sandbox, serve it, show its levels",
        ("qwq sandbox levels", "qwq sandbox run program.py"),
    ),
    Command(
        "serve",
        "serve tools over MCP, an environment over OpenEnv",
        ("qwq serve mcp my_tools:population", "qwq serve openenv qwq/MathTool-v0"),
    ),
    Command("bench", "run a benchmark of the checkout", ("qwq bench", "qwq bench tools --json")),
    Command(
        "completion",
        "print what makes a shell complete these commands",
        ('eval "$(qwq completion bash)"', "qwq completion fish | source"),
    ),
)

_EXIT_CODES: Final = """exit codes:
  0    done
  1    a check did not hold, or our machinery failed; what can go on says how
  2    what was asked for is wrong: one line says what, and what was expected
  130  interrupted"""


def _parser(*wanted: str) -> argparse.ArgumentParser:
    """Return the parser; only the commands that are wanted have their options."""
    parser: argparse.ArgumentParser = _Parser(
        prog="qwq",
        description="Train reasoning models to use tools, and check what they are paid.",
        epilog=_EXIT_CODES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"qwq-env {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if command.name in wanted:
            command.add_to(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help)
    return parser


def parsers_of(name: str) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of a command, and of each that stands below it."""

    def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for each in action.choices.values():
                    yield from below(each)

    parser: argparse.ArgumentParser = _Parser(prog="qwq")
    subparsers = parser.add_subparsers()
    next(command for command in COMMANDS if command.name == name).add_to(subparsers)
    yield from below(subparsers.choices[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Run `qwq` and return the exit code.

    0: done. 1: the check failed, or the work did. 2: the input was wrong. 130: interrupted.
    Nothing that a file, a server or a model wrote acts on the terminal. Modules of the current
    folder are found, as `python -m` finds them.
    """
    # Their bars are drawn with characters that are escaped here.
    os.environ.setdefault("TQDM_DISABLE", "1")
    # What comes of its tries is told in one line at the end.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if "_ARGCOMPLETE" in os.environ:
        return _complete()
    usable_streams()
    with printable_streams(), current_folder():
        return _main(list(sys.argv[1:] if argv is None else argv))


def _complete() -> int:
    """Answer the shell that asks how a line goes on; see `qwq completion`."""
    import argcomplete  # noqa: PLC0415 - no command but this needs it

    words = os.environ.get("COMP_LINE", "").split()
    known = {command.name for command in COMMANDS}
    argcomplete.autocomplete(_parser(*known.intersection(words[1:])))
    return 0


def _main(arguments: list[str]) -> int:
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    names = [command.name for command in COMMANDS]
    if wanted is not None and wanted not in names:
        return _tell("error", unknown("command", wanted, names), 2)
    parser = _parser(*filter(None, [wanted]))
    if wanted == "check":  # `qwq check MODULE:THING` needs no word for what it checks
        arguments = importlib.import_module("qwq_env.cli.check").expand(arguments)
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
        further = "; the same line with --resume goes on" if hasattr(parsed, "resume") else ""
        print(f"qwq: interrupted{further}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away; that is no error of ours.
        sys.stderr.close()
        return 0
    except OSError as error:
        # A path that cannot be written, a full disk: for the operator to mend, not for us.
        return _tell("failed", error, 1)


def _tell(what: str, error: Exception, code: int) -> int:
    """Say in one line what is wrong; return the exit code, which holds where nobody can be told."""
    with suppress(OSError):
        print(f"qwq: {what}: {printable(str(error), lines=False)}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
