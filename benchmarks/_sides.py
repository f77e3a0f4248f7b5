"""Sides that play in processes of their own, each measured from outside in the same way."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

HERE = Path(__file__).parent


class Cost(NamedTuple):
    """Seconds for one rollout: of processor time in all of a side's processes, and of the clock."""

    cpu: float
    wall: float


class Side:
    """A script that waits to be asked (see `_side.py`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked: IO[str] = process.stdin
        self._told: IO[str] = process.stdout
        self._process = psutil.Process(process.pid)

    def play(self, rollouts: int) -> Cost:
        """Let it play; every rollout must come out right."""
        before = self._cpu()
        told = self.ask(str(rollouts))
        assert told["right"] == rollouts, told
        return Cost((self._cpu() - before) / rollouts, told["wall_s"] / rollouts)

    def ask(self, what: str) -> dict[str, Any]:
        """Return how many were right and the seconds of the clock."""
        print(what, file=self._asked, flush=True)
        told: dict[str, Any] = json.loads(self._told.readline())
        return told

    def _cpu(self) -> float:
        """Return the processor seconds of the process, its living descendants and its dead ones."""
        total = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


@contextlib.contextmanager
def side(python: str | Path, script: str, *arguments: str) -> Iterator[Side]:
    """Start a script beside this file with an interpreter; end it at the end."""
    # A tool server of verifiers is a process that imports the taskset by name. Our own packages
    # must not be beside theirs.
    folders = [HERE, HERE.parent] if str(python) == sys.executable else [HERE]
    variables = {
        **os.environ,
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "INSTANT_KEY": "none",
    }
    command: Sequence[str] = [str(python), str(HERE / script), *arguments]
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Side(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
