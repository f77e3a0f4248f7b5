"""Run the processes of one machine: servers first, trainers once all serve; one ends, all end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Self

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.training.launch import Process

_LOOK_SECONDS: Final = 0.2
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_END_SECONDS: Final = 20.0
"""What a process has to end by itself before it is killed; vLLM frees its GPUs meanwhile."""

Say = Callable[[str], None]


def run_processes(processes: Sequence[Process], node: int, *, wait_seconds: float, say: Say) -> int:
    """Run those of machine `node`, and return the exit code of the first trainer that ended.

    Raises `InfrastructureError` for a server that ends before, or does not serve in time. Whatever
    happens, nothing that was started is left.
    """
    mine = [process for process in processes if process.node == node]
    with _Signals() as signals, _Running(signals, say) as running:
        for process in mine:
            if process.kind == "prepare":
                _prepare(process, say)
        for process in mine:
            if process.kind == "server":
                running.start(process)
        trainers = [process for process in mine if process.kind == "trainer"]
        if trainers:
            urls = [process.url for process in processes if process.url is not None]
            _wait_for_health(urls, running.processes, wait_seconds, say)
        for process in trainers:
            running.start(process)
        return _wait_for_first(running.processes, {process.name for process in trainers}, say)


def _prepare(process: Process, say: Say) -> None:
    say(f"{process.name}: {process.shell()}")
    code = subprocess.run(process.command, env=environment_of(process)).returncode
    if code != 0:
        raise InfrastructureError(f"launch: {process.name} ended with {code}")


def environment_of(process: Process) -> dict[str, str]:
    """Return the variables that a process gets here: its GPUs are among those that we were given.

    Raises `UsageError` if those are too few.
    """
    found, said = {**os.environ, **process.environment}, os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None or not process.gpus:
        return found
    ours = [name.strip() for name in said.split(",") if name.strip()]
    if max(process.gpus) >= len(ours):
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES: {said!r}; {process.name} needs"
            f" {max(process.gpus) + 1} GPUs to be visible"
        )
    return found | {"CUDA_VISIBLE_DEVICES": ",".join(ours[gpu] for gpu in process.gpus)}


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


class _Running:
    """What was started; at the end of the block all of it is ended."""

    def __init__(self, signals: _Signals, say: Say) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._signals = signals
        self._say = say

    def __enter__(self) -> Self:
        return self

    def start(self, process: Process) -> None:
        """Start one, in a group of its own: what it starts ends with it."""
        self._say(f"{process.name}: {process.shell()}")
        environment = environment_of(process)
        # A signal between its start and its entry here would leave it running.
        with self._signals.held():
            self.processes[process.name] = subprocess.Popen(
                process.command, env=environment, start_new_session=True
            )

    def __exit__(self, *error: object) -> None:
        with self._signals.held():
            _end_all(self.processes)


class _Signals:
    """Turns SIGTERM, which schedulers send, and Ctrl-C into an interrupt that ends all in order."""

    def __init__(self) -> None:
        self._holds = self._came = False

    def __enter__(self) -> Self:
        self._before = {each: signal.signal(each, self._interrupt) for each in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for each, before in self._before.items():
            signal.signal(each, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put an interrupt off until the end of the block."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._came:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: object) -> None:
        # The first one ends all; another must not end the ending, however early it comes.
        first, self._came = not self._came, True
        if first and not self._holds:
            raise KeyboardInterrupt
