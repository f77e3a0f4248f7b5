"""The watch over one step or call: its CPU time decides, wall time is the safety net."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from qwq_env.sandbox.jail.usage import cpu_seconds
from qwq_env.sandbox.result import Limits

PATIENCE: Final = 0.005
"""Seconds within which most steps end, and during which nothing needs watching."""


class Stopwatch:
    """Calls `on_long` once after `PATIENCE`, and `on_over` when either time is used up.

    One serves all steps of a process, each between `start` and `stop`. Steps that follow each
    other quickly share a timer.
    """

    def __init__(self, on_long: Callable[[], None], on_over: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_long = on_long
        self._on_over = on_over
        self._pid = 0
        self._limits = Limits()
        self._began = 0.0
        self._cpu_began = 0.0
        self._running = False
        self._is_long = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, pid: int, limits: Limits) -> None:
        """Watch a step of that process, from now on."""
        self._pid, self._limits = pid, limits
        self._running, self._is_long = True, False
        self._began = time.perf_counter()
        self._cpu_began = cpu_seconds(pid)
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def cpu_seconds(self) -> float:
        """CPU seconds used so far, 0 where the process is gone."""
        return max(0.0, cpu_seconds(self._pid) - self._cpu_began)

    def wall_seconds(self) -> float:
        """Wall seconds so far."""
        return time.perf_counter() - self._began

    def stop(self) -> None:
        """Stop watching; the times stand until the next step."""
        self._running = False
        if self._is_long:
            self.close()

    def close(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._running:
            return
        age = self.wall_seconds()
        if age < PATIENCE and not self._is_long:
            # The timer was set for a step before this one.
            self._timer = self._loop.call_later(PATIENCE - age, self._look)
            return
        if not self._is_long:
            self._is_long = True
            self._on_long()
        self._check()

    def _check(self) -> None:
        wall_left = self._limits.wall_seconds - self.wall_seconds()
        cpu_left = self._limits.cpu_seconds - self.cpu_seconds()
        if min(wall_left, cpu_left) <= 0:
            self._on_over()
        else:
            # A process that uses several cores at once is a little late; its limit is per core.
            self._timer = self._loop.call_later(max(0.001, min(wall_left, cpu_left)), self._look)
