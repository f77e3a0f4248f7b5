"""A session: steps arrive on the channel and run in the same names, one after another."""

from __future__ import annotations

import json
import resource
from typing import Any

from qwq_env.sandbox.jail import program, wire


def serve(names: dict[str, Any]) -> int:
    """Run steps until the host closes the channel."""
    # Bound now, so that a step cannot replace them by patching their modules.
    read, write, loads, dumps = wire.read_frame, wire.write_frame, json.loads, json.dumps
    execute, flush, usage = program.execute, program.flush, resource.getrusage
    write(wire.CHANNEL, b"{}")
    number = 0
    while True:
        request = read(wire.CHANNEL)
        if request is None:
            return 0
        number += 1
        step = loads(request)
        filename = f"{program.FILENAME_PREFIX} step {number}>"
        ended = execute(step["code"].encode(), names, filename, step["value_bytes"])
        flush()
        peak = usage(resource.RUSAGE_SELF).ru_maxrss
        answer = (step["nonce"], ended.exit_code, ended.value, ended.error, peak * 1024)
        write(wire.CHANNEL, dumps(answer).encode())
