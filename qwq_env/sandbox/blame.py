"""Whose doing it is that a slot was lost: that of the program in it, or the sandbox's own.

A program is kept from its slot by every means there is, and may yet find a way to have it killed.
Were that the sandbox's failure, a program could choose to be undecided where it would be wrong.
So a loss is the program's doing unless something else is shown not to work.
"""

from __future__ import annotations

import signal
from typing import Final

from qwq_env.sandbox.errors import SandboxUnavailable
from qwq_env.sandbox.handle import SlotHandle, SlotLost
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import ExecutionResult, Limits
from qwq_env.sandbox.verdict import job_of, judge

LOSSES: Final = 3
"""So many slots in a row are lost under a program before anyone asks whose doing it is."""

_LIMITS: Final = Limits(cpu_seconds=10, wall_seconds=30)


async def blame_program(pool: SlotPool, lost: SlotHandle) -> ExecutionResult:
    """Return the result of the program under which a slot was lost, or under which all were.

    Raises `SandboxUnavailable` where the program had not begun, where the fork server that made
    the slot is gone too, or where a trivial program does not run on a fresh slot.
    """
    if not lost.began:
        raise SandboxUnavailable("sandbox: slots are lost before a program begins")
    probe = await pool.open(pool.disk_mb)
    try:
        ended = await probe.start(job_of(wire.RUN, _LIMITS), b"1", b"", None, _LIMITS)
    except SlotLost:
        raise SandboxUnavailable("sandbox: slots are lost under any program") from None
    finally:
        probe.destroy()
    if not (await judge(ended, _LIMITS)).ok or probe.server is not lost.server:
        raise SandboxUnavailable("sandbox: the slot was lost under a program, and not alone")
    return ExecutionResult("killed", signal=int(signal.SIGKILL))
