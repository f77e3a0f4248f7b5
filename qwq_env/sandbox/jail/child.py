"""A child: waits for one job, takes on its limits, runs it, and never returns."""

from __future__ import annotations

import atexit
import math
import os
import resource
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn

from qwq_env.sandbox.jail import calls, landlock, program, session, syscalls, usage, wire

_DESCRIPTORS: Final = 256
_LONE_DESCRIPTORS: Final = 64


class Cradle(NamedTuple):
    """What a slot has ready for each of its children.

    Every page that a child touches is copied for it, so all that can be made once is made here.
    """

    jobs: socket.socket
    inbox: bytearray
    """Where the next job is received: as long as the longest, and untouched so far."""
    names: dict[str, Any]
    """The names of `__main__`, where a program runs."""
    image_bytes: int
    """The address space that the warm image takes already."""
    ceilings: dict[int, int]
    """The slot's own hard limits, which no child can exceed; only those that there are."""
    scoped: bool
    lone_filter: bytes
    """What is refused on top where no namespace surrounds the child."""


def run(cradle: Cradle) -> NoReturn:
    """Run the next job."""
    if cradle.lone_filter:
        _stand_alone(cradle.scoped, cradle.lone_filter)
    # Nothing to read, in a pipe of its own: what it sets on `/dev/null` would be there for all.
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(writer)
    taken = take_job(cradle)
    if taken is None:
        os._exit(0)
    job, argv, code, received = taken
    code = _take_in(job, received) or code
    # The sockets of the slot, and whatever else came.
    os.closerange(wire.JOBS, wire.REPORT + job.channel)
    os.closerange(wire.CHANNEL + job.channel, _DESCRIPTORS)
    for kind, bounds in limits_of(job, cradle):
        resource.setrlimit(kind, bounds)
    if argv:
        sys.argv[1:] = argv
    if job.kind == wire.SESSION:
        exit_code = session.serve(cradle.names)
    elif job.kind == wire.CALLS:
        exit_code = calls.serve(code, cradle.names)
    else:
        exit_code = program.run(code, cradle.names, job.value_bytes)
    _finish(exit_code)


def take_job(cradle: Cradle) -> tuple[wire.Job, list[str], bytes, list[int]] | None:
    """Receive a job and say so: the job, its arguments, code and descriptors; None at the end."""
    length, received = wire.receive_into(cradle.jobs, cradle.inbox)
    if not length:
        return None
    cradle.jobs.send(wire.STARTED)
    return *wire.unpack_job(memoryview(cradle.inbox)[:length]), received


def _stand_alone(scoped: bool, lone_filter: bytes) -> None:
    """What a pid namespace would see to: dying with the slot, signalling nobody else, no forks."""
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    if scoped:
        landlock.restrict_signals()
    syscalls.install_filter(lone_filter)


def interrupted(number: int, frame: FrameType | None) -> None:
    """Stop the program as Ctrl-C would, but never the harness around it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(program.FILENAME_PREFIX):
            raise KeyboardInterrupt
        frame = frame.f_back


def _take_in(job: wire.Job, received: list[int]) -> bytes:
    """Put what came with a job in its place; returns the code, if that is in a file."""
    # Who answers over a channel makes no report.
    for place in (wire.STDOUT, wire.STDERR, wire.REPORT)[: 2 if job.channel else 3]:
        os.dup2(received.pop(0), place, inheritable=place != wire.REPORT)
    code = _read_file(received.pop(0)) if job.code_file else b""
    if job.stdin_file:
        os.dup2(received.pop(0), 0)
    if job.channel:
        os.dup2(received[0], wire.CHANNEL, inheritable=False)
    return code


def _read_file(descriptor: int) -> bytes:
    code = bytearray()
    while chunk := os.pread(descriptor, 1 << 20, len(code)):
        code += chunk
    os.close(descriptor)
    return bytes(code)


def limits_for_all(lone: bool) -> list[tuple[int, int]]:
    """Return the limits that are the same for every job, as (which, bound)."""
    # Without a file system of its own a program could fill the host's disk by files that it
    # unlinked and kept open: so it may have few of them, and of a modest size.
    descriptors = _LONE_DESCRIPTORS if lone else _DESCRIPTORS
    return [
        (resource.RLIMIT_NOFILE, descriptors),
        (resource.RLIMIT_STACK, 64 << 20),
        (resource.RLIMIT_SIGPENDING, 256),
    ]


def limits_of(job: wire.Job, cradle: Cradle) -> list[tuple[int, tuple[int, int]]]:
    """Return the limits of one job, as (which, (soft, hard))."""
    lone = bool(cradle.lone_filter)
    file_mb = min(job.file_mb, max(1, job.disk_mb // 4) if lone else job.disk_mb)
    processes = (job.processes + 1, job.processes + 1)
    if lone:
        processes = (usage.LONE_PROCESSES, usage.LONE_PROCESSES + job.processes)
    memory = cradle.image_bytes + (job.memory_mb << 20)
    cpu = math.ceil(job.cpu_seconds) + 1
    limits = [
        (resource.RLIMIT_CPU, (cpu, cpu + 1)),
        (resource.RLIMIT_FSIZE, (file_mb << 20, file_mb << 20)),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_AS, (memory, memory)),
    ]
    if cradle.ceilings:
        return [(kind, _under(cradle.ceilings.get(kind), bounds)) for kind, bounds in limits]
    return limits


def _under(ceiling: int | None, bounds: tuple[int, int]) -> tuple[int, int]:
    return bounds if ceiling is None else (min(bounds[0], ceiling), min(bounds[1], ceiling))


def hard_limits() -> dict[int, int]:
    """Return the hard limits of this process on what `limits_of` bounds, where it has any."""
    kinds = (
        resource.RLIMIT_CPU,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_NPROC,
        resource.RLIMIT_AS,
    )
    ceilings = {kind: resource.getrlimit(kind)[1] for kind in kinds}
    return {kind: most for kind, most in ceilings.items() if most != resource.RLIM_INFINITY}


def _finish(exit_code: int) -> NoReturn:
    """End as an interpreter would, but without taking the warm image apart."""
    try:
        if len(threading._active) > 1:  # type: ignore[attr-defined]
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    # What a program has left to be run at its end may do anything, and ends here.
    except BaseException:  # noqa: BLE001
        pass
    program.flush()
    os._exit(exit_code)
