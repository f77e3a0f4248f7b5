"""A session: steps arrive on the channel and run in the same names, one after another."""

from __future__ import annotations

import resource
import select
import time
from typing import Any, Final

from qwq_env.sandbox.jail import program, wire
from qwq_env.sandbox.jail.linger import linger

_LINGER_SECONDS: Final = 0.0002
"""How long the next step is looked out for, where the host has said that a core is left over."""

_QUICK_SECONDS: Final = 0.001
"""Steps that follow one another within this time are worth looking out for."""


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
    pack, account, look_out = wire.ANSWER.pack, wire.pack_account, linger
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
        head = pack(nonce, ended.exit_code, usage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        write(wire.CHANNEL, head + account(ended.value, ended.error))
        answered = clock()
        if lingers:
            look_out(poll, _LINGER_SECONDS)
    return 0
