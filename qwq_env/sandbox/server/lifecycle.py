"""The server from its first listening socket to its last answer."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import Final, Self

from qwq_env.errors import UsageError
from qwq_env.sandbox.interface import Sandbox
from qwq_env.sandbox.server.address import is_loopback
from qwq_env.sandbox.server.connection import Deadlines, HttpConnection
from qwq_env.sandbox.server.message import ApiError
from qwq_env.sandbox.server.service import SandboxService, ServiceLimits
from qwq_env.sandbox.wire import check_token

_log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_SHORTEST_TOKEN: Final = 16
# Cancelled executions need a moment to be killed and reaped.
_CLEANUP_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.01
# Two are needed: one makes (or closes) the transport, the next tells the protocol of it.
_TURNS: Final = 4


class SandboxServer:
    """Serves one sandbox over HTTP; the sandbox stays its owner's to close.

    ```python
    async with LocalSandbox() as sandbox, SandboxServer(sandbox) as server:
        print(server.url)
    ```
    Without a token only loopback addresses may be bound (`UsageError`). Port 0 takes a free
    one. There is no TLS: across machines that you do not trust, put a TLS proxy before it.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        limits: ServiceLimits | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        check_secret(token)
        if token is None and not is_loopback(host):
            raise UsageError(f"host: {host!r} is not a loopback address, expected a token with it")
        self.service = SandboxService(sandbox, limits or ServiceLimits(), token)
        self._host = host
        self._port = port
        self._deadlines = deadlines or Deadlines()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address that clients use, with the port that was really bound."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and listen; raises `UsageError` where the address cannot be had."""
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: HttpConnection(self.service, self._deadlines),
                self._host,
                self._port,
                backlog=_BACKLOG,
            )
        except OSError as error:
            raise UsageError(f"host: {self._host}:{self._port} cannot be bound: {error}") from None
        self._port = self._server.sockets[0].getsockname()[1]
        self._sweeper = asyncio.create_task(self.service.sessions.sweep())

    async def drain(self, seconds: float) -> bool:
        """Take no new program and no new session, finish what was begun, and close.

        Sessions that are open may be used until they are closed, at most for `seconds`; then
        their state is lost. A program that still runs then is cancelled and answered 503.
        Returns whether everything that had been taken was answered. Idempotent.
        """
        end = time.monotonic() + seconds
        self.service.draining = True
        await self._sessions_ended(end)
        self.service.closing = True
        await self._stop_listening()
        for connection in list(self.service.connections):
            connection.close_if_idle()
        await _settled()
        in_time = await self._quiet(end)
        for connection in list(self.service.connections):
            connection.stop(ApiError(503, "draining", "the server ended before the program"))
        await self._quiet(time.monotonic() + _CLEANUP_S)
        for connection in list(self.service.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.service.sessions.aclose()
        return in_time

    async def _stop_listening(self) -> None:
        """Accept no more, and close once all that was accepted stands in `connections`.

        asyncio takes a few turns of its loop from accepting a connection to telling of it. A
        server closed in between loses sight of it: its socket stays open until it is collected.
        """
        if self._server is None:
            return
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        await _settled()
        self._server.close()

    async def _sessions_ended(self, end: float) -> None:
        while self.service.sessions.in_use and time.monotonic() < end:
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _quiet(self, end: float) -> bool:
        while self.service.connections or self.service.active:
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_LOOK_AGAIN_S)
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self.drain(0)


async def _settled() -> None:
    """Let asyncio tell of the connections that it has accepted or closed."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def serve_until_told(server: SandboxServer, drain_seconds: float) -> bool:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the patience.

    Returns whether everything that had been taken was answered in full.
    """
    told = asyncio.Event()
    hurried = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        (hurried if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    try:
        await told.wait()
        _log.info("draining for at most %g s", drain_seconds)
        draining = asyncio.create_task(server.drain(drain_seconds))
        hurry = asyncio.create_task(hurried.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if draining.done():
            return draining.result()
        draining.cancel()
        await server.drain(0)
        return False
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def check_secret(token: str | None) -> None:
    """Refuse a token that can be guessed or cannot stand in a header; never shows it."""
    if token is None:
        return
    if len(token) < _SHORTEST_TOKEN:
        raise UsageError(f"token: has {len(token)} characters, expected {_SHORTEST_TOKEN} or more")
    check_token(token)
