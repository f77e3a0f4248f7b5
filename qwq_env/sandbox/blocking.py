"""The sandbox for code that is not asynchronous: a loop of its own in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Self, TypeVar

from qwq_env.errors import UsageError
from qwq_env.sandbox.interface import DEFAULT_LIMITS, Sandbox, SandboxSession
from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits

T = TypeVar("T")


class BlockingSandbox:
    """Any `Sandbox`, driven from ordinary code and from many threads at once.

    ```python
    with BlockingSandbox(LocalSandbox()) as sandbox:
        print(sandbox.run("6 * 7").value)
    ```
    The sandbox must not have been used before: it comes to belong to the loop of this object.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise UsageError("sandbox: was closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """See `Sandbox.run`."""
        return self._wait(self._sandbox.run(code, stdin=stdin, limits=limits, argv=argv))

    def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        """See `Sandbox.call`."""
        return self._wait(self._sandbox.call(code, function, arguments, limits=limits))

    def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> BlockingSession:
        """See `Sandbox.open_session`."""
        return BlockingSession(self, self._wait(self._sandbox.open_session(limits=limits)))

    def close(self) -> None:
        """End all that runs, and the thread; idempotent."""
        if not self._loop.is_closed():
            self._wait(self._sandbox.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


class BlockingSession:
    """A `SandboxSession`, driven from ordinary code; made by `BlockingSandbox.open_session`."""

    def __init__(self, owner: BlockingSandbox, session: SandboxSession) -> None:
        self._owner = owner
        self._session = session

    def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        """See `SandboxSession.run`."""
        return self._owner._wait(self._session.run(code, wall_seconds=wall_seconds))

    def close(self) -> None:
        """End the interpreter; idempotent."""
        self._owner._wait(self._session.aclose())
