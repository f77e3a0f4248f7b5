"""Tools of an MCP server (Model Context Protocol, stdio), as tools of an environment.

```python
server = McpServer(["npx", "-y", "@modelcontextprotocol/server-everything"])
env = ToolEnv(tasks, [*server.tools(), Calculator()], rubric)
...
server.close()
```

The protocol is spoken here in full, with no package of its own: what is needed of it is four
messages. One server process serves all episodes, so use it for servers that keep no state.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qwq_env import portal
from qwq_env._version import __version__
from qwq_env.bounds import check_positive
from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.tool import Tool, ToolResult
from qwq_env.tools.mcp_connection import Connection, RemoteError

_PROTOCOL: Final = "2025-06-18"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MOST_PAGES: Final = 100
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class McpServer:
    """A server started by `command`, when first needed and again after it has died.

    Of the environment it gets PATH, HOME, LANG and TMPDIR, and what `environment` holds.
    `seconds` bound its start and its answers; they must stay below `ToolLimits.seconds`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        seconds: float = 20.0,
    ) -> None:
        if isinstance(command, str) or not command:
            raise UsageError(f"MCP server, command: {command!r}; expected a list of words")
        check_positive("MCP server, seconds", seconds)
        self.command = list(command)
        self.environment = dict(environment or {})
        self.seconds = seconds
        self._connection: Connection | None = None
        self._opening: asyncio.Lock | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None, "_opening": None}

    def tools(self) -> list[McpTool]:
        """Ask the server for its tools; raises `UsageError` for one that cannot be used."""
        return portal.run(self._tools())

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; raises `ToolError` for its errors, `InfrastructureError` for ours."""
        return await portal.reach(self._call(name, arguments))

    def close(self) -> None:
        """End the server; a later call starts it again."""
        portal.run(self._close())

    async def _tools(self) -> list[McpTool]:
        found: list[McpTool] = []
        cursor: Any = None
        for _ in range(_MOST_PAGES):
            params = {} if cursor is None else {"cursor": cursor}
            page = await self._ask("tools/list", params)
            listed = page.get("tools") if isinstance(page, dict) else None
            if not isinstance(listed, list):
                raise InfrastructureError(f"MCP server {self.command[0]}: lists no tools")
            found += [McpTool(self, entry) for entry in listed]
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        return found

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        try:
            result = await self._ask("tools/call", {"name": name, "arguments": arguments})
        except RemoteError as error:
            raise ToolError(str(error)) from None
        content = result.get("content") if isinstance(result, dict) else None
        if not isinstance(content, list):
            raise InfrastructureError(f"MCP server {self.command[0]}: answered without content")
        text = "\n".join(_text(item) for item in content)
        if result.get("isError"):
            raise ToolError(text)
        return ToolResult(text)

    async def _ask(self, method: str, params: Mapping[str, Any]) -> Any:
        try:
            async with asyncio.timeout(self.seconds):
                connection = await self._connected()
                return await connection.request(method, params)
        except TimeoutError:
            raise InfrastructureError(
                f"MCP server {self.command[0]}: no answer within {self.seconds:g} seconds"
            ) from None

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.owner != os.getpid():
            # A fork: the server is the parent's, and so is whoever holds the lock.
            self._connection = self._opening = None
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._connection is None or not self._connection.alive:
                await self._close()
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> Connection:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        connection = await Connection.open(self.command, {**passed_on, **self.environment})
        _open_connections.add(connection)
        greeting = {
            "protocolVersion": _PROTOCOL,
            "capabilities": {},
            "clientInfo": {"name": "qwq-env", "version": __version__},
        }
        try:
            await connection.request("initialize", greeting)
            await connection.notify("notifications/initialized", {})
        except RemoteError as error:
            await connection.aclose()
            raise InfrastructureError(f"MCP server {self.command[0]}: {error}") from None
        except BaseException:
            await connection.aclose()
            raise
        return connection

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


class McpTool(Tool):
    """One tool of an `McpServer`; made by `McpServer.tools`."""

    def __init__(self, server: McpServer, entry: Any) -> None:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"MCP server {server.command[0]}: offers a tool named {name!r:.200}")
        schema = entry.get("inputSchema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise UsageError(f"MCP server {server.command[0]}: {name} has no schema of an object")
        self.server = server
        self.name = name
        self.description = str(entry.get("description") or entry.get("title") or name)
        self.parameters = schema

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Ask the server."""
        return await self.server.call(self.name, arguments)


def _text(item: Any) -> str:
    """Return what a model can read of one part of an answer."""
    if not isinstance(item, dict):
        return ""
    if item.get("type") == "text":
        return str(item.get("text", ""))
    resource = item.get("resource")
    if isinstance(resource, dict) and isinstance(resource.get("text"), str):
        return str(resource["text"])
    return f"[{item.get('type')}: {item.get('mimeType') or item.get('uri') or 'not text'}]"


_open_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


@atexit.register
def _close_at_exit() -> None:
    for connection in list(_open_connections):
        if connection.owner == os.getpid():
            portal.run(connection.aclose())
