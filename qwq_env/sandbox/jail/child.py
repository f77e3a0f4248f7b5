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


def run(config: dict[str, Any], image_bytes: int, lone_filter: bytes) -> NoReturn:
    """Run the next job.

    `image_bytes` is the address space that the warm image takes already, `lone_filter` what is
    refused on top where no namespace surrounds the child.
    """
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    if config["scoped"] and not config["namespaces"]:
        landlock.restrict_signals()
    if lone_filter:
        syscalls.install_filter(lone_filter)
    signal.signal(signal.SIGINT, _interrupted)
    jobs = socket.socket(fileno=wire.JOBS)
    message, descriptors = wire.receive(jobs, wire.JOB_BYTES)
    jobs.close()
    if not message:
        os._exit(0)
    os.write(wire.REPORT, wire.STARTED)
    job = wire.unpack_job(message, descriptors)
    header = job.header
    received = list(job.descriptors)
    code = job.code if job.code is not None else _read_file(received.pop(0))
    if header["stdin_file"]:
        os.dup2(received.pop(0), 0)
    if header["channel"]:
        os.dup2(received.pop(0), wire.CHANNEL, inheritable=False)
    os.closerange(wire.JOBS, wire.REPORT)
    os.closerange(wire.CHANNEL + (1 if header["channel"] else 0), _DESCRIPTORS)
    _limit(header, image_bytes, bool(lone_filter))
    sys.argv = ["program.py", *header["argv"]]
    names = sys.modules["__main__"].__dict__
    if header["kind"] == "session":
        exit_code = session.serve(names)
    elif header["kind"] == "calls":
        exit_code = calls.serve(code, names)
    else:
        exit_code = program.run(code, names, header["value_bytes"])
    _finish(exit_code)


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


def _limit(header: dict[str, Any], image_bytes: int, lone: bool) -> None:
    # Without a file system of its own a program could fill the host's disk by files that it
    # unlinked and kept open: so it may have few of them, and of a modest size.
    descriptors = _LONE_DESCRIPTORS if lone else _DESCRIPTORS
    file_mb = min(header["file_mb"], max(1, header["disk_mb"] // 4) if lone else header["disk_mb"])
    file_bytes = file_mb << 20
    # Without a user namespace of its own it shares its count with all of its user's processes.
    processes = _LONE_PROCESSES if lone else header["processes"] + 1
    cpu = math.ceil(header["cpu_seconds"]) + 1
    memory = image_bytes + (header["memory_mb"] << 20)
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
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    program.flush()
    os._exit(exit_code)
