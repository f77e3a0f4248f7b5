"""The contract of a sandbox: run a program, keep an interpreter, call a solution's function.

`LocalSandbox` keeps it on this machine, the HTTP client on another; a tool or a grader written
against these two classes cannot tell them apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits

DEFAULT_LIMITS = Limits()


class SandboxSession(ABC):
    """An interpreter of one's own, whose names live on from one `run` to the next."""

    @abstractmethod
    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        """Run one step and say how it went.

        The deadline is `wall_seconds`, or that of the session's limits. A step that overruns it
        is interrupted as by Ctrl-C and the state is kept; if it will not be interrupted the
        interpreter is killed, `state_lost` is true, and the next `run` starts a fresh interpreter
        and says so by `state_lost` as well. Steps of one session run one after another.
        Raises `SessionClosed` after `aclose`.

        Between its steps a session is at rest: a twentieth of a second after the last one, what
        it left running (threads, processes) is stopped, and goes on with the next step. So no
        session uses CPU while a model thinks; one that has itself woken again is killed.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End the interpreter and all it started; idempotent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.aclose()


class Sandbox(ABC):
    """Runs hostile programs; safe to use from many tasks at once.

    ```python
    async with LocalSandbox() as sandbox:
        result = await sandbox.run("print(1 + 1)")
        assert result.stdout == "2\\n"
    ```
    Bad input (code that is empty, not UTF-8 or above 4 MiB, limits out of bounds) raises
    `UsageError`, a machinery that failed `SandboxUnavailable`, a full queue `SandboxBusy`;
    whatever the program does is a result. A sandbox that dies under a program, and under no
    other, is that program's doing: its status is `killed`.
    """

    @abstractmethod
    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """Run one program in a fresh warm interpreter; nothing of it outlives the call."""

    @abstractmethod
    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> SandboxSession:
        """Return a new interpreter that lives until it is closed."""

    @abstractmethod
    async def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        """Load a solution once, call its function once per argument list, in that order.

        `function` is a name or a dotted path; a class on the path is instantiated anew for each
        call (`Solution.two_sum`). Arguments and returned values are plain data (see
        `CallResult`). Each call has the deadline of the limits for itself. A call that kills the
        interpreter, or overruns, ends with its status; the calls after it run in a fresh one. If
        the solution cannot be loaded every result says why. Where the values that came back grow
        large together (a million numbers), the calls that are left are `skipped`, the first
        never. What the caller expects is compared by the caller, outside: it never enters the
        process of the solution.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Refuse new work, end all that runs and free everything; idempotent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.aclose()
