"""A Python session in a plain subprocess: bounded and tidy, but NOT isolated.

Why you would want this: a machine on which the sandbox cannot run (no Linux, no Landlock), with
code that you trust. The code has a fresh interpreter with an empty environment, a folder of its
own, limits on memory, file size and time, and is ended with all of its children when the session
closes, when the host dies, or when it overruns. But it runs as the same user, with the same
files and the same network: a program that means harm can do harm.
"""

from __future__ import annotations

import asyncio
import dataclasses

from qwq_env.errors import UsageError
from qwq_env.sandbox import (
    DEFAULT_LIMITS,
    ExecutionResult,
    Limits,
    SandboxSession,
    SessionClosed,
)
from qwq_env.tools.python.process import InterpreterProcess


class SubprocessSession(SandboxSession):
    """An interpreter in a subprocess, started at its first step; see the module's warning.

    Of `limits` it holds `wall_seconds`, `memory_mb`, `file_mb` and `output_bytes`. Belongs to
    the event loop of its first use.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._turn = asyncio.Lock()
        self._interpreter: InterpreterProcess | None = None
        self._state_lost = False
        self._closed = False

    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        """See `SandboxSession.run`."""
        try:
            text = code.decode() if isinstance(code, bytes) else code.encode().decode()
        except UnicodeError as error:
            raise UsageError(f"code: is not UTF-8 text: {error}") from None
        seconds = self._limits.wall_seconds if wall_seconds is None else wall_seconds
        async with self._turn:
            if self._closed:
                raise SessionClosed("session: was closed")
            if self._interpreter is None:
                self._interpreter = await InterpreterProcess.started(self._limits)
            began_afresh = self._state_lost
            # Lost until the step has ended well, for the wait for it may be cancelled.
            self._state_lost = True
            try:
                result = await self._interpreter.step(text, seconds)
                self._state_lost = result.state_lost
            finally:
                if self._state_lost:
                    self._discard()
        return dataclasses.replace(result, state_lost=began_afresh or self._state_lost)

    def _discard(self) -> None:
        if self._interpreter is not None:
            self._interpreter.end()
            self._interpreter = None

    async def aclose(self) -> None:
        """See `SandboxSession.aclose`; returns when no process of the session is left."""
        self._closed = True
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            await asyncio.to_thread(interpreter.end().join)
