"""A session: steps arrive on the channel and run in the same names, one after another."""

from __future__ import annotations

import json
import resource
from typing import Any

from qwq_env.sandbox.jail import program, wire


def serve(names: dict[str, Any]) -> int:
    """Run steps until the host closes the channel."""
    # Bound now, so that a step cannot replace them by patching their modules.
    read, write, dumps, unpack = (
        wire.read_frame,
        wire.write_frame,
        json.dumps,
        wire.STEP.unpack_from,
    )
    execute, flush, usage = program.execute, program.flush, resource.getrusage
    write(wire.CHANNEL, b"{}")
    number = 0
    while True:
        request = read(wire.CHANNEL)
        if request is None:
            return 0
        number += 1
        nonce, value_bytes = unpack(request)
        code = request[wire.STEP.size :]
        filename = f"{program.FILENAME_PREFIX} step {number}>"
        ended = execute(code, names, filename, value_bytes)
        flush()
        peak = usage(resource.RUSAGE_SELF).ru_maxrss
        answer = (nonce.decode(), ended.exit_code, ended.value, ended.error, peak * 1024)
        write(wire.CHANNEL, dumps(answer).encode())
