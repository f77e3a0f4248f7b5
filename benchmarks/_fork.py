"""Python scripts as processes that are forked from one that has imported TRL already."""

from __future__ import annotations

import importlib
import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["qwq_env.training.grpo"])


def start(
    module: str, arguments: tuple[Any, ...], variables: dict[str, str], log: Path
) -> BaseProcess:
    """Call `main(*arguments)` of a module of this folder; what it prints goes to `log`.

    With `variables` in its environment; those that are read when something is imported have to
    stand in that of the first call.
    """
    process = _PROCESSES.Process(target=_run, args=(module, arguments, variables, log), daemon=True)
    process.start()
    return process


def _run(module: str, arguments: tuple[Any, ...], variables: dict[str, str], log: Path) -> None:
    os.environ.update(variables)
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    importlib.import_module(module).main(*arguments)
