"""The watch over one step or call: its CPU time decides, wall time is the safety net."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from qwq_env.sandbox.jail.guard import cpu_seconds
from qwq_env.sandbox.result import Limits

PATIENCE: Final = 0.005
"""Seconds within which most steps end, and during which nothing needs watching."""


class Stopwatch:
    """Calls `on_long` once after `PATIENCE`, and `on_over` when either time is used up.

    It is made anew for each step, and costs one timer unless the step is long.
    """

    def __init__(
        self,
        pid: int,
        limits: Limits,
        on_long: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid = pid
        self._limits = limits
        self._on_long = on_long
        self._on_over = on_over
        self.began = time.perf_counter()
        self.cpu_began = cpu_seconds(pid)
        self._timer = self._loop.call_later(PATIENCE, self._long)

    def cpu_seconds(self) -> float:
        """CPU seconds used so far, 0 where the process is gone."""
        return max(0.0, cpu_seconds(self._pid) - self.cpu_began)

    def wall_seconds(self) -> float:
        """Wall seconds so far."""
        return time.perf_counter() - self.began

    def cancel(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _long(self) -> None:
        self._on_long()
        self._check()

    def _check(self) -> None:
        wall_left = self._limits.wall_seconds - self.wall_seconds()
        cpu_left = self._limits.cpu_seconds - self.cpu_seconds()
        if min(wall_left, cpu_left) <= 0:
            self._on_over()
        else:
            # A process that uses several cores at once is a little late; its limit is per core.
            self._timer = self._loop.call_later(max(0.001, min(wall_left, cpu_left)), self._check)
