"""`python -m qwq_env.grading.worker MODULE:FUNCTION`: the process that grades, and can be killed.

It is started clean, by exec, and never runs as a fork of the trainer. First it is a server: it
imports the function (and with it SymPy), warms it up, and then forks one worker for each socket
that it receives. A fork of the warm server takes milliseconds where a new interpreter takes a
second, so that killing a worker costs nothing.

A worker reads one JSON request a line, `{"arguments": [...]}`, and answers with one line,
`{"score": [value, reason, detail], "cpu": seconds}`; `cpu` is what it has spent since it began.
What it says first is `{"pid": n, "cpu": seconds}`.

The function is anybody's, so two places catch all exceptions: where it is imported (the pool is
told, and raises `GraderUnavailable`) and where it is called (the score is undecided, `infra`).
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qwq_env.grading.score import Score

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_PAGE = resource.getpagesize()


def main(argv: list[str]) -> int:
    """Serve until the control socket (a descriptor number) is closed by the other side."""
    target, control_number, memory_mb, alarm_s = argv
    control = socket.socket(fileno=int(control_number))
    try:
        function = _import(target)
    except Exception as error:  # noqa: BLE001 - the boundary: any failure is told to the pool
        control.sendall(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        return 1
    control.sendall(b'{"ready": true}\n')
    gc.collect()
    gc.freeze()
    # The kernel reaps dead workers; nobody asks how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    workers: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            break
        workers.add(_fork(control, descriptors[0], function, int(memory_mb), float(alarm_s)))
    for pid in workers:
        _kill(pid)
    return 0


def _import(target: str) -> Callable[..., Score]:
    module_name, _, name = target.partition(":")
    module = importlib.import_module(module_name)
    function: Callable[..., Score] = getattr(module, name)
    warm_up = getattr(module, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return function


def _kill(pid: int) -> None:
    try:
        # Only a child of ours: a number that was given away again has another parent.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    except (OSError, IndexError):
        pass


def _fork(
    control: socket.socket,
    descriptor: int,
    function: Callable[..., Score],
    memory_mb: int,
    alarm_s: float,
) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    status = 1
    try:
        control.close()
        _end_with(server)
        _limit(memory_mb)
        with socket.socket(fileno=descriptor) as connection:
            _serve(connection, function, alarm_s)
        status = 0
    finally:
        os._exit(status)


def _end_with(server: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)


def _limit(memory_mb: int) -> None:
    """Cap the address space at what the server already had plus the budget."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    except OSError:
        return  # not Linux: there is no telling what is in use
    cap = used + memory_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (cap, cap))


def _serve(connection: socket.socket, function: Callable[..., Score], alarm_s: float) -> None:
    connection.sendall(_line({"pid": os.getpid()}))
    requests = connection.makefile("rb")
    for line in requests:
        # The pool kills at the deadline; the alarm ends a worker whose pool is gone.
        signal.setitimer(signal.ITIMER_REAL, alarm_s)
        score = _grade(function, json.loads(line)["arguments"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.sendall(_line({"score": [score.value, score.reason, score.detail[:500]]}))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({**message, "cpu": time.process_time()}).encode() + b"\n"


def _grade(function: Callable[..., Score], arguments: list[Any]) -> Score:
    try:
        return function(*arguments)
    except MemoryError:
        return Score.undecided("too_complex", "out of memory")
    except RecursionError:
        return Score.undecided("too_complex", "nested too deeply")
    except Exception as error:  # noqa: BLE001 - the boundary: a grader's bug is never a wrong answer
        return Score.undecided("infra", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
