"""Which MCP a server speaks, found out by asking it.

Since the protocol of 2026-07-28 there is no handshake: each request carries the version. Before,
a connection began with `initialize`. As that specification has it, a server is first asked to
`server/discover`; whoever answers that, or refuses the version by its own error, is modern, and
anybody else, silence included, gets an `initialize`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from qwq_env._version import __version__
from qwq_env.errors import InfrastructureError
from qwq_env.tools.mcp.connection import Connection, RemoteError
from qwq_env.tools.mcp.http_connection import HttpConnection

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_MODERN_CODES: Final = (-32020, -32021, -32022)
_UNSUPPORTED: Final = -32022
_PROBE_SECONDS: Final = 2.0
_CLIENT: Final = {"name": "qwq-env", "version": __version__}
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Session:
    """A connection, and the protocol's version that is spoken on it."""

    def __init__(self, connection: Connection | HttpConnection, version: str) -> None:
        self.connection = connection
        self.version = version

    async def request(
        self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """Send a request in the server's own protocol; see `Connection.request`."""
        return await self.connection.request(method, self._dressed(params), headers)

    def _dressed(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**params, "_meta": _META} if self.version == MODERN else params


async def open_session(connection: Connection | HttpConnection, *, legacy: bool = False) -> Session:
    """Find out what the server speaks, and begin; `legacy` says that it is known to be old.

    Raises `InfrastructureError` for a server with which there is no common version, or that is
    gone, `UsageError` for one that refuses the key.
    """
    try:
        version = None if legacy else await _discover(connection)
        if version is None:
            version = await _initialize(connection)
    except RemoteError as error:
        raise InfrastructureError(f"MCP server {connection.name}: {error}") from None
    return Session(connection, version)


async def _discover(connection: Connection | HttpConnection) -> str | None:
    """Return the version of a server that needs no handshake, None for one that does."""
    _speak(connection, MODERN)
    asked = asyncio.ensure_future(connection.request("server/discover", {"_meta": _META}))
    try:
        await asyncio.wait({asked}, timeout=_PROBE_SECONDS)
        if asked.done():
            return _spoken(await _outcome(asked, connection), connection)
        # Silent, or slow to start: then this answer comes first, and decides.
        return await _initialize_or(asked, connection)
    finally:
        asked.cancel()
        await asyncio.wait({asked})
        if not asked.cancelled():
            asked.exception()


async def _initialize_or(
    asked: asyncio.Future[Any], connection: Connection | HttpConnection
) -> str | None:
    try:
        return await _initialize(connection)
    except RemoteError:
        if asked.done() and (version := _spoken(await _outcome(asked, connection), connection)):
            return version
        raise


async def _outcome(asked: asyncio.Future[Any], connection: Connection | HttpConnection) -> Any:
    """Return what the probe was answered: a result, or an error.

    Old servers are known to answer what they do not know with any status. One that is not there
    will not be there for an `initialize` either.
    """
    try:
        return await asked
    except RemoteError as error:
        return error
    except InfrastructureError as error:
        if not connection.alive or not isinstance(connection, HttpConnection):
            raise
        return RemoteError(str(error))


def _spoken(answer: Any, connection: Connection | HttpConnection) -> str | None:
    if isinstance(answer, RemoteError):
        if answer.code not in _MODERN_CODES:
            return None
        if answer.code != _UNSUPPORTED:
            raise answer
        offered = answer.data.get("supported") if isinstance(answer.data, dict) else None
    else:
        offered = answer.get("supportedVersions") if isinstance(answer, dict) else None
        if not isinstance(offered, list):
            return None
    known = offered if isinstance(offered, list) else []
    if MODERN in known:
        _speak(connection, MODERN)
        return MODERN
    if any(version in known for version in LEGACY):
        return None
    said = ", ".join(map(str, known))[:200]
    expected = f"expected one of {', '.join((MODERN, *LEGACY))}"
    raise InfrastructureError(f"MCP server {connection.name}: speaks {said or '?'}; {expected}")


async def _initialize(connection: Connection | HttpConnection) -> str:
    _speak(connection, "")
    greeting = {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": _CLIENT}
    answer = await connection.request("initialize", greeting)
    version = answer.get("protocolVersion") if isinstance(answer, dict) else None
    # An older server names its own; of one that is newer than we are, we hope for the best.
    if not isinstance(version, str) or not version or version == MODERN:
        version = LEGACY[0]
    _speak(connection, version)
    await connection.notify("notifications/initialized", {})
    return version


def _speak(connection: Connection | HttpConnection, version: str) -> None:
    """Let the headers of HTTP say which version is spoken."""
    if isinstance(connection, HttpConnection):
        connection.version, connection.modern = version, version == MODERN
