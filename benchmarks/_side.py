"""The far end of a side that is measured from outside; for any interpreter, nothing to install.

A script calls `answer` with what it can do. It is then asked over standard input, a line each time
(how many rollouts, which rows), and says on standard output how many came out right and how long
that took. Whatever else it or its children print goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable


def answer(play: Callable[[str], Awaitable[int]]) -> None:
    """Play as often as is asked, on one event loop, until standard input ends."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        start = time.perf_counter()
        right = loop.run_until_complete(play(line))
        report = {"right": right, "wall_s": time.perf_counter() - start}
        print(json.dumps(report), file=told, flush=True)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
