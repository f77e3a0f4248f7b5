"""An MCP server of ours over standard input and output, and over HTTP."""

from __future__ import annotations

from typing import Any

from qwq_env.interop.extra import extra
from qwq_env.interop.guard import LARGEST_REQUEST, MOST_CONNECTIONS, Guard
from qwq_env.interop.mcp_server import ToolServer

with extra("mcp"):
    import uvicorn
    from mcp.server.stdio import stdio_server


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
    that others reach, without one.
    """
    app: Any = server.streamable_http_app(
        host=host,
        max_sessions=sessions,
        session_idle_timeout=idle_seconds,
        max_request_body_size=LARGEST_REQUEST,
    )

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        if scope.get("method") == "DELETE":
            session = dict(scope["headers"]).get(b"mcp-session-id", b"").decode("latin-1")
            await server.table.drop(f"session {session}")

    return Guard(watched, host=host, key=key)


async def serve_http(server: ToolServer, *, host: str, port: int, **options: Any) -> None:
    """Serve at `http://host:port/mcp` until interrupted; `options` are those of `http_app`."""
    app = http_app(server, host=host, **options)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", limit_concurrency=MOST_CONNECTIONS
    )
    await uvicorn.Server(config).serve()
