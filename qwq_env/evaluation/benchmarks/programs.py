"""What benchmarks of programming share: what is taken for the program, and who judges it."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.code_rows import code_row
from qwq_env.evaluation.benchmarks.protocol import BARE, QWQ_SOURCE, Protocol

PROGRAM: Final = Protocol(
    prompt="the task; the program is handed in whole, in one block",
    extraction="the last Python block after the thinking",
    judge="qwq/CodeTool-v0: the published tests, all of them, in the sandbox",
    metric="pass@1; QwQ publishes none, its sampling is taken",
    source=QWQ_SOURCE,
    arguments=BARE,
    read=code_row,
)
"""Each benchmark says what differs."""
