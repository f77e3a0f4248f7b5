"""A child: waits for one job, takes on its limits, runs it, and never returns."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import resource
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Any, Final, NoReturn

from qwq_env.sandbox.jail import calls, landlock, program, session, syscalls, wire

_DESCRIPTORS: Final = 256
_LONE_DESCRIPTORS: Final = 64
_LONE_PROCESSES: Final = 2048


def run(
    config: dict[str, Any], jobs: socket.socket, image_bytes: int, lone_filter: bytes
) -> NoReturn:
    """Run the next job.

    `image_bytes` is the address space that the warm image takes already, `lone_filter` what is
    refused on top where no namespace surrounds the child. Every page that is touched here is
    copied for each execution, so this does little, and in few places.
    """
    if lone_filter:
        _stand_alone(config["scoped"], lone_filter)
    signal.signal(signal.SIGINT, _interrupted)
    message, received = wire.receive(jobs, wire.JOB_BYTES)
    jobs.close()
    if not message:
        os._exit(0)
    os.write(wire.REPORT, wire.STARTED)
    job, argv, code = wire.unpack_job(message)
    if job.code_file:
        code = _read_file(received.pop(0))
    if job.stdin_file:
        os.dup2(received.pop(0), 0)
    if job.channel:
        os.dup2(received.pop(0), wire.CHANNEL, inheritable=False)
    os.closerange(wire.JOBS, wire.REPORT)
    os.closerange(wire.CHANNEL + job.channel, _DESCRIPTORS)
    _limit(job, image_bytes, bool(lone_filter))
    sys.argv[1:] = argv
    names = sys.modules["__main__"].__dict__
    if job.kind == wire.SESSION:
        exit_code = session.serve(names)
    elif job.kind == wire.CALLS:
        exit_code = calls.serve(code, names)
    else:
        exit_code = program.run(code, names, job.value_bytes)
    _finish(exit_code)


def _stand_alone(scoped: bool, lone_filter: bytes) -> None:
    """What a pid namespace would see to: dying with the slot, signalling nobody else, no forks."""
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    if scoped:
        landlock.restrict_signals()
    syscalls.install_filter(lone_filter)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Stop the program as Ctrl-C would, but never the harness around it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(program.FILENAME_PREFIX):
            raise KeyboardInterrupt
        frame = frame.f_back


def _read_file(descriptor: int) -> bytes:
    code = bytearray()
    while chunk := os.pread(descriptor, 1 << 20, len(code)):
        code += chunk
    os.close(descriptor)
    return bytes(code)


def _limit(job: wire.Job, image_bytes: int, lone: bool) -> None:
    # Without a file system of its own a program could fill the host's disk by files that it
    # unlinked and kept open: so it may have few of them, and of a modest size.
    descriptors = _LONE_DESCRIPTORS if lone else _DESCRIPTORS
    file_mb = min(job.file_mb, max(1, job.disk_mb // 4) if lone else job.disk_mb)
    file_bytes = file_mb << 20
    # Without a user namespace of its own it shares its count with all of its user's processes.
    processes = _LONE_PROCESSES if lone else job.processes + 1
    cpu = math.ceil(job.cpu_seconds) + 1
    memory = image_bytes + (job.memory_mb << 20)
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_NOFILE, descriptors, descriptors),
        (resource.RLIMIT_STACK, 64 << 20, 64 << 20),
        (resource.RLIMIT_SIGPENDING, 256, 256),
        (resource.RLIMIT_AS, memory, memory),
    ):
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))


def _finish(exit_code: int) -> NoReturn:
    """End as an interpreter would, but without taking the warm image apart."""
    with contextlib.suppress(BaseException):
        if len(threading._active) > 1:  # type: ignore[attr-defined]
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    program.flush()
    os._exit(exit_code)
