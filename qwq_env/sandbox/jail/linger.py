"""Looking out for a message for a moment before sleeping until it comes.

To be woken on another core takes as long as a short step of a session does, so each side looks
out for the other's next word where it is likely to come at once and a core is left over.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Final

_ALONE_SECONDS: Final = 0.00003
"""To give way takes longer than this only where another process wanted the core."""


def linger(
    poll: select.poll,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    give_way: Callable[[], None] = os.sched_yield,
) -> bool:
    """Whether something came within `seconds`; gives up at once where the core is wanted."""
    now = clock()
    end = now + seconds
    while not poll.poll(0):
        if now >= end:
            return False
        give_way()
        before, now = now, clock()
        if now - before > _ALONE_SECONDS:
            return False
    return True
