"""The servers under test, before a sandbox of real processes that can be broken at will."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import (
    DEFAULT_LIMITS,
    CallResult,
    ExecutionResult,
    Limits,
    Sandbox,
    SandboxSession,
    SandboxUnavailable,
    SessionClosed,
)
from qwq_env.sandbox.server.lifecycle import SandboxServer
from qwq_env.sandbox.server.service import ServiceLimits


async def spawn(*arguments: str) -> asyncio.subprocess.Process:
    """Start an interpreter; a caller that is cancelled meanwhile leaves none behind."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        process.kill()
        await process.communicate()
        raise


class ProcessSandbox(Sandbox):
    """Runs `python -c`; `broken` makes every use fail as a broken sandbox does."""

    def __init__(self) -> None:
        self.broken = False
        self.running = 0
        self.most_running = 0
        self.pids: list[int] = []
        self.limits_seen: list[Limits] = []
        self.sessions: list[ProcessSession] = []

    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        if self.broken:
            raise SandboxUnavailable("the fake sandbox is broken")
        if not code.strip():
            raise UsageError("code: is empty")
        self.limits_seen.append(limits)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._process(code, stdin, limits, argv)
        finally:
            self.running -= 1

    async def _process(
        self, code: str | bytes, stdin: bytes, limits: Limits, argv: Sequence[str]
    ) -> ExecutionResult:
        began = time.monotonic()
        text = code if isinstance(code, str) else code.decode()
        process = await spawn("-c", text, *argv)
        self.pids.append(process.pid)
        try:
            async with asyncio.timeout(limits.wall_seconds):
                stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            return ExecutionResult("timeout", wall_seconds=time.monotonic() - began)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        return ExecutionResult(
            "ok" if process.returncode == 0 else "error",
            stdout.decode(errors="replace"),
            stderr.decode(errors="replace"),
            exit_code=process.returncode,
            wall_seconds=time.monotonic() - began,
        )

    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> SandboxSession:
        if self.broken:
            raise SandboxUnavailable("the fake sandbox is broken")
        self.sessions.append(ProcessSession())
        return self.sessions[-1]

    async def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        names: dict[str, Any] = {}
        exec(code, names)
        return [CallResult("ok", names[function](*call)) for call in arguments]

    async def aclose(self) -> None:
        self.broken = True


class ProcessSession(SandboxSession):
    """Keeps names; a step is executed in this process, so give it honest programs only."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.closed = False

    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        if self.closed:
            raise SessionClosed("the session was closed")
        await asyncio.sleep(0)
        try:
            value = eval(code, self.names)
        except SyntaxError:
            exec(code, self.names)
            value = None
        return ExecutionResult("ok", value=None if value is None else repr(value))

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def sandbox() -> ProcessSandbox:
    """A sandbox of the tests' own, to count in and to break."""
    return ProcessSandbox()


class Gate:
    """A program that runs until the test lets it end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.code = (
            f"import os, time\nwhile not os.path.exists({str(file)!r}):\n    time.sleep(0.01)\n"
        )

    def open(self) -> None:
        self._file.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "open")


Start = Callable[..., Awaitable[SandboxServer]]


@pytest.fixture
async def start(sandbox: ProcessSandbox) -> AsyncIterator[Start]:
    """Starts servers on free ports, and drains them at the end."""
    servers: list[SandboxServer] = []

    async def start(**options: Any) -> SandboxServer:
        server = SandboxServer(sandbox, **options)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.drain(0)
        assert not server.service.active
        assert not server.service.queue.running
        assert not server.service.queue.queued
    assert not sandbox.running


@pytest.fixture
async def http(start: Start) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that asks for no token."""
    server = await start(limits=ServiceLimits(slots=2, max_body=100_000))
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client
