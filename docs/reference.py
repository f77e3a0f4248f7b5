"""The pages of the reference, made when the site is built: the public API, and the command's help.

A hook of MkDocs. What is public is what `__all__` lists, so no page can forget a name.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

from mkdocs.structure.files import File, Files

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ["COLUMNS"] = "100"

from qwq_env.cli import COMMANDS, parsers_of

PACKAGES = {
    "index": ("qwq_env", "Environments, tasks, tools, rewards"),
    "environments": ("qwq_env.envs", "The library's environments"),
    "tools": ("qwq_env.tools", "The library's tools"),
    "dialect": ("qwq_env.dialect", "Dialects and the token codec"),
    "rollout": ("qwq_env.rollout", "Engine, policies, stores"),
    "training": ("qwq_env.training", "Training"),
    "evaluation": ("qwq_env.evaluation", "Evaluation"),
    "grading": ("qwq_env.grading", "Graders"),
    "sandbox": ("qwq_env.sandbox", "The sandbox"),
}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages."""
    for name, (package, title) in PACKAGES.items():
        text = _page(importlib.import_module(package), title)
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    text = "# The command line\n\n" + "".join(_command(command.name) for command in COMMANDS)
    files.append(File.generated(config, "reference/command-line.md", content=text))
    return files


def _page(package: ModuleType, title: str) -> str:
    """Return what a package says of itself, and a place for each of its names."""
    said = (package.__doc__ or "").strip()
    names = [name for name in package.__all__ if not isinstance(getattr(package, name), ModuleType)]
    places = "\n\n".join(f"::: {_home(package, name)}" for name in names)
    return f"# {title}\n\n{said}\n\n{places}\n"


def _home(package: ModuleType, name: str) -> str:
    """Return where a name is written down, for exports are lazy: sources do not show them."""
    home = getattr(getattr(package, name), "__module__", None)
    module = importlib.import_module(home) if isinstance(home, str) else package
    return f"{module.__name__ if hasattr(module, name) else package.__name__}.{name}"


def _command(name: str) -> str:
    """Return the help of a command and of those below it."""
    return "".join(
        f"## {parser.prog}\n\n```text\n{parser.format_help()}```\n\n" for parser in parsers_of(name)
    )
