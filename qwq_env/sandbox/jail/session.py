"""A session: steps arrive on the channel and run in the same names, one after another."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Callable
from typing import Any, Final

from qwq_env.sandbox.jail import program, wire

_LINGER_SECONDS: Final = 0.0002
"""How long the next step is looked out for before the process sleeps: to be woken on another core
takes as long as a short step does. Only where the host has said that a core is left over."""

_QUICK_SECONDS: Final = 0.001
"""Steps that follow one another within this time are worth looking out for."""

_ALONE_SECONDS: Final = 0.00003
"""To give way takes longer than this only where another process wanted the core."""


def serve(names: dict[str, Any]) -> int:
    """Run steps until the host closes the channel."""
    # Bound now, so that a step cannot replace them by patching their modules.
    read, write, unpack, clock = (
        wire.read_frame,
        wire.write_frame,
        wire.STEP.unpack_from,
        time.monotonic,
    )
    execute, flush, mend, usage = program.execute, program.flush, program.mend, resource.getrusage
    answer, linger = _answer, _linger
    poll = select.poll()
    poll.register(wire.CHANNEL, select.POLLIN)
    write(wire.CHANNEL, b"{}")
    number, answered = 0, 0.0
    while (request := read(wire.CHANNEL)) is not None:
        number += 1
        nonce, value_bytes, lingers = unpack(request)
        lingers = lingers and clock() - answered < _QUICK_SECONDS
        code = request[wire.STEP.size :]
        mend()
        ended = execute(code, names, f"{program.FILENAME_PREFIX} step {number}>", value_bytes)
        flush()
        write(wire.CHANNEL, answer(nonce, ended, usage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        answered = clock()
        if lingers:
            linger(poll)
    return 0


def _answer(nonce: bytes, ended: program.Ended, peak_bytes: int) -> bytes:
    value, error = _bytes(ended.value), _bytes(ended.error)
    lengths = [-1 if text is None else len(text) for text in (value, error)]
    head = wire.ANSWER.pack(nonce, ended.exit_code, peak_bytes, *lengths)
    return head + (value or b"") + (error or b"")


def _bytes(text: object) -> bytes | None:
    # A `repr`, or the name of an error, is what the program says it is.
    return str.encode(text, "utf-8", "surrogatepass") if isinstance(text, str) else None


def _linger(
    poll: select.poll,
    clock: Callable[[], float] = time.monotonic,
    give_way: Callable[[], None] = os.sched_yield,
) -> None:
    """Return when the next step is there, when it is time to sleep, or the core is wanted."""
    now = clock()
    end = now + _LINGER_SECONDS
    while not poll.poll(0) and now < end:
        give_way()
        before, now = now, clock()
        if now - before > _ALONE_SECONDS:
            return
