"""Going the way of a child a few times in the image, before there are any children.

The interpreter makes code faster where it has run for a while, and remembers what it has looked
up. A child that is forked from an image where its code has never run does all this for itself,
and the next one again: a fifth of what a short program costs. So the image does it once.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import socket
from typing import Any, Final

from qwq_env.sandbox.jail import child, program, wire

_ROUNDS: Final = 32
"""The interpreter specialises an instruction after at most this many executions of it."""

_FILENAME: Final = f"{program.FILENAME_PREFIX}: rehearsal>"
_PROGRAMS: Final = (b"print(1)", b"x = 1\nx + 1", b"def f():\n    return 1\nprint(f())\n", b"1 / 0")


def rehearse() -> None:
    """Receive, read and run small programs as a child does, but limit nothing and end nothing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job = wire.Job(wire.RUN, False, False, False, 1.0, 1, 1, 1, 1, 100)
    with (
        ours,
        theirs,
        open(os.devnull, "w", encoding="utf-8") as null,  # noqa: PTH123
        contextlib.redirect_stdout(null),
        contextlib.redirect_stderr(null),
    ):
        for _ in range(_ROUNDS):
            for code in _PROGRAMS:
                wire.send(ours, wire.pack_job(job, (), code))
                _run_one(theirs)
                ours.recv(16)
    linecache.cache.pop(_FILENAME, None)


def _run_one(jobs: socket.socket) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    cradle = child.Cradle(jobs, bytearray(4096), names, 0, {}, False, b"")
    taken = child.take_job(cradle)
    assert taken is not None
    job, _, code, _ = taken
    child.limits_of(job, cradle)
    program.execute(code, cradle.names, _FILENAME, job.value_bytes)
    program.flush()
