"""Run the processes of one machine: servers first, trainers once all serve; one ends, all end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from qwq_env.errors import InfrastructureError
from qwq_env.training.launch import Process

_LOOK_SECONDS: Final = 0.2
_END_SECONDS: Final = 20.0
"""What a process has to end by itself before it is killed; vLLM frees its GPUs meanwhile."""

Say = Callable[[str], None]


def run_processes(processes: Sequence[Process], node: int, *, wait_seconds: float, say: Say) -> int:
    """Run those of machine `node`, and return the exit code of the first trainer that ended.

    Raises `InfrastructureError` for a server that ends before, or does not serve in time. Whatever
    happens, nothing that was started is left.
    """
    mine = [process for process in processes if process.node == node]
    running: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as ends, _EndedBySignals():
        ends.callback(_end_all, running)
        for process in mine:
            if process.kind == "prepare":
                _prepare(process, say)
        for process in mine:
            if process.kind == "server":
                running[process.name] = _start(process, say)
        trainers = [process for process in mine if process.kind == "trainer"]
        if trainers:
            urls = [process.url for process in processes if process.url is not None]
            _wait_for_health(urls, running, wait_seconds, say)
        for process in trainers:
            running[process.name] = _start(process, say)
        return _wait_for_first(running, {process.name for process in trainers}, say)


def _prepare(process: Process, say: Say) -> None:
    say(f"{process.name}: {process.shell()}")
    code = subprocess.run(process.command, env={**os.environ, **process.environment}).returncode
    if code != 0:
        raise InfrastructureError(f"launch: {process.name} ended with {code}")


def _start(process: Process, say: Say) -> subprocess.Popen[bytes]:
    say(f"{process.name}: {process.shell()}")
    # A group of its own: what it starts ends with it.
    environment = {**os.environ, **process.environment}
    return subprocess.Popen(process.command, env=environment, start_new_session=True)


def _wait_for_health(
    urls: Sequence[str], running: dict[str, subprocess.Popen[bytes]], seconds: float, say: Say
) -> None:
    deadline = time.monotonic() + seconds
    for url in urls:
        while not _healthy(url):
            for name, process in running.items():
                if (code := process.poll()) is not None:
                    raise InfrastructureError(f"launch: {name} ended with {code} before it served")
            if time.monotonic() > deadline:
                raise InfrastructureError(f"launch: {url} does not serve after {seconds:g} seconds")
            time.sleep(_LOOK_SECONDS)
        say(f"{url} serves")


def _healthy(url: str) -> bool:
    # Not through a proxy: these are machines of the cluster.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_for_first(
    running: dict[str, subprocess.Popen[bytes]], trainers: set[str], say: Say
) -> int:
    while True:
        for name, process in running.items():
            if (code := process.poll()) is None:
                continue
            if name not in trainers:
                raise InfrastructureError(f"launch: {name} ended with {code}")
            say(f"{name} ended with {code}")
            others = [running[other] for other in trainers - {name}]
            # The processes of one trainer end together; give the others that moment.
            codes = [code, *(_code_within(other, _END_SECONDS) for other in others)]
            return next((each for each in codes if each), 0)
        time.sleep(_LOOK_SECONDS)


def _code_within(process: subprocess.Popen[bytes], seconds: float) -> int:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return 1


def _end_all(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        for process in running.values():
            try:
                # Those that a leader left behind, too.
                os.killpg(process.pid, how)
            except (ProcessLookupError, PermissionError):
                continue
        deadline = time.monotonic() + _END_SECONDS
        for process in running.values():
            _code_within(process, max(deadline - time.monotonic(), 0.1))


class _EndedBySignals:
    """Turn SIGTERM, which schedulers send, into the interrupt that ends everything in order."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
