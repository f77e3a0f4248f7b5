"""`qwq completion SHELL`: what makes bash, zsh or fish complete the commands, their options, files.

eval "$(qwq completion bash)"       # in ~/.bashrc; zsh: ~/.zshrc
qwq completion fish > ~/.config/fish/completions/qwq.fish
"""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq completion`."""
    parser = subparsers.add_parser(
        "completion", help="print what makes a shell complete these commands"
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the lines that the shell is to read."""
    import argcomplete  # noqa: PLC0415 - only this command and a shell that asks need it

    print(argcomplete.shellcode(["qwq"], shell=arguments.shell))
    return 0
