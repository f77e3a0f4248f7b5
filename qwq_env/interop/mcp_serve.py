"""An MCP server of ours over standard input and output, and over HTTP."""

from __future__ import annotations

import hmac
from typing import Any, Final

from qwq_env.errors import UsageError
from qwq_env.interop.extra import extra
from qwq_env.interop.mcp_server import ToolServer
from qwq_env.sandbox.server.address import is_loopback

with extra("mcp"):
    import uvicorn
    from mcp.server.stdio import stdio_server

_LARGEST_REQUEST: Final = 1 << 20
_CONNECTIONS: Final = 512


async def serve_stdio(server: ToolServer) -> None:
    """Serve one client until it closes our standard input. What tools print goes to stderr."""
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def http_app(
    server: ToolServer,
    *,
    host: str = "127.0.0.1",
    key: str | None = None,
    sessions: int = 64,
    idle_seconds: float = 600.0,
) -> Any:
    """Return the ASGI application that serves `server` at `/mcp`.

    With a `key`, requests must carry it as a bearer's token. Raises `UsageError` for an address
    that others reach, without one. A request body is at most a megabyte.
    """
    if key is None and not is_loopback(host):
        raise UsageError(f"host: {host!r} is not a loopback address; expected a key with it")
    app = server.streamable_http_app(
        host=host,
        max_sessions=sessions,
        session_idle_timeout=idle_seconds,
        max_request_body_size=_LARGEST_REQUEST,
    )
    return _Guard(app, server, key)


async def serve_http(server: ToolServer, *, host: str, port: int, **options: Any) -> None:
    """Serve at `http://host:port/mcp` until interrupted; `options` are those of `http_app`."""
    app = http_app(server, host=host, **options)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", limit_concurrency=_CONNECTIONS
    )
    await uvicorn.Server(config).serve()


class _Guard:
    """Asks for the key before anything is read of a request, and sees sessions end."""

    def __init__(self, app: Any, server: ToolServer, key: str | None) -> None:
        self._app, self._table = app, server.table
        self._expected = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and self._expected is not None:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                asked = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 401, "headers": asked})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)
        if scope.get("method") == "DELETE" and (session := headers.get(b"mcp-session-id")):
            await self._table.drop(f"session {session.decode('latin-1')}")
