"""Processes forked from one that has imported what trains: ranks of a process group, and others."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

ROOT = str(Path(__file__).resolve().parents[1])
LONGEST = 600
"""Seconds; only against those that hang."""

_PROCESSES = multiprocessing.get_context("forkserver")
# Torch, Transformers and TRL, eight seconds of a processor for each that imports them itself.
_PROCESSES.set_forkserver_preload(
    ["torch._dynamo", "torch.distributed.fsdp", "qwq_env.training.run"]
)


def start(
    function: Callable[..., None], *arguments: Any, log: Path, **variables: str
) -> BaseProcess:
    """Begin `function(*arguments)` with one thread and these variables; prints go to `log`."""
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)  # where the process looks for the function
    given = (variables, log, function, arguments)
    process = _PROCESSES.Process(target=_begin, args=given, daemon=True)
    process.start()
    return process


def run_training(*arguments: str) -> None:
    """Be `python -m qwq_env.training ARGUMENTS`."""
    sys.argv = ["qwq_env.training", *arguments]
    runpy.run_module("qwq_env.training", run_name="__main__", alter_sys=True)


def run_script(path: str, *arguments: str) -> None:
    """Be `python PATH ARGUMENTS`."""
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def run_ranks(function: Callable[..., None], *arguments: Any, folder: Path, ranks: int = 2) -> None:
    """Call `function(*arguments)` in so many processes, with the variables that torchrun sets.

    What they print goes to `folder`, and is shown if one of them fails.
    """
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks), "GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    logs = [folder / f"log-{rank}" for rank in range(ranks)]
    processes = [
        start(function, *arguments, log=log, **shared, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank, log in enumerate(logs)
    ]
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline and any(process.is_alive() for process in processes):
        if any(process.exitcode for process in processes):
            break  # The others may wait for it for ever.
        wait([process.sentinel for process in processes if process.is_alive()], 1.0)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    assert codes == [0] * ranks, (codes, *(log.read_text()[-2000:] for log in logs))


def leave() -> NoReturn:
    """End the rank that calls this as it is, in its last line.

    Torch joins gloo's threads when the group is let go of, and holds the interpreter's lock while
    it does; one of them may want that lock to let go of a Python object. Then neither goes on.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _begin(
    variables: dict[str, str], log: Path, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(variables)
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    import torch

    torch.set_num_threads(1)
    function(*arguments)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
