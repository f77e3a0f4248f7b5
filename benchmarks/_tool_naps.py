"""The episodes of `tools.py`: a tool that sleeps, and what the model writes.

TRL's AsyncGRPO pickles its tools and reward functions by name for the process that plays.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

CALL = '<tool_call>\n{"name": "nap", "arguments": {}}\n</tool_call><|im_end|>'
DONE = "done<|im_end|>"
SECONDS = "QWQ_BENCH_NAP_SECONDS"
"""The variable that says how long; the process that plays inherits it."""


async def nap() -> str:
    """Sleep."""
    await asyncio.sleep(float(os.environ[SECONDS]))
    return "rested"


def nothing(completions: list[Any], **columns: Any) -> list[float]:
    """Pay nothing."""
    return [0.0] * len(completions)
