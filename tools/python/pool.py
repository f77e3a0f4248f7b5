"""The sandbox that all `python` tools of a process share, started at its first use.

It lives on the library's background loop (`qwq_env.portal`), so that every event loop of the
process uses the same warm pool, and none takes it along when it ends. A fork of the process
starts its own; the pool is closed when the interpreter ends, and its processes also end by
themselves when this process is killed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from qwq_env import portal
from qwq_env.sandbox import (
    ExecutionResult,
    LevelUnavailable,
    Limits,
    LocalSandbox,
    SandboxSession,
    SessionClosed,
)

_CLOSE_SECONDS: Final = 10.0
_inherited: list[LocalSandbox] = []
_sandbox: LocalSandbox | None = None


class SharedSession(SandboxSession):
    """A session of the shared sandbox, for use from any event loop; opened at its first step.

    One that is forgotten without `aclose` is closed when it is collected.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inner: SandboxSession | None = None
        self._closed = False

    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        """See `SandboxSession.run`."""
        return await portal.reach(self._run(code, wall_seconds))

    async def _run(self, code: str | bytes, wall_seconds: float | None) -> ExecutionResult:
        if self._closed:
            raise SessionClosed("session: was closed")
        if self._inner is None:
            try:
                inner = await shared_sandbox().open_session(limits=self._limits)
            except LevelUnavailable as error:
                raise LevelUnavailable(
                    f"python tool: {error}; PythonTool(backend='subprocess') does without "
                    "isolation, for code that you trust"
                ) from None
            loop = asyncio.get_running_loop()
            weakref.finalize(self, _abandon, inner, loop, os.getpid()).atexit = False
            self._inner = inner
        return await self._inner.run(code, wall_seconds=wall_seconds)

    async def aclose(self) -> None:
        """See `SandboxSession.aclose`."""
        self._closed = True
        inner, self._inner = self._inner, None
        if inner is not None:
            await portal.reach(inner.aclose())


def shared_sandbox() -> LocalSandbox:
    """Return the sandbox of this process; to be used on the library's background loop only."""
    global _sandbox
    if _sandbox is None:
        _sandbox = LocalSandbox()
        atexit.register(_close_at_exit)
    return _sandbox


def _abandon(session: SandboxSession, loop: asyncio.AbstractEventLoop, owner: int) -> None:
    if os.getpid() == owner and not loop.is_closed():
        asyncio.run_coroutine_threadsafe(session.aclose(), loop)


def _close_at_exit() -> None:
    if _sandbox is not None:
        portal.run(_close(_sandbox))


async def _close(sandbox: LocalSandbox) -> None:
    asyncio.get_running_loop().set_default_executor(_Inline())
    async with asyncio.timeout(_CLOSE_SECONDS):
        await sandbox.aclose()


class _Inline(ThreadPoolExecutor):
    """Runs work at once: at the interpreter's end no thread may be started any more."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **arguments))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the future
            future.set_exception(error)
        return future


def _forget_after_fork() -> None:
    """The pool's processes belong to the parent: keep the object, so that nothing ends them."""
    global _sandbox
    if _sandbox is not None:
        _inherited.append(_sandbox)
        _sandbox = None


os.register_at_fork(after_in_child=_forget_after_fork)
