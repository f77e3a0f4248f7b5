"""Tools of an MCP server (Model Context Protocol), as tools of an environment.

```python
server = McpServer(["npx", "-y", "@modelcontextprotocol/server-everything"])
web = McpServer("https://tools.example.org/mcp", key_variable="TOOLS_KEY")
env = ToolEnv(tasks, [*server.tools(), *web.tools(), Calculator()], rubric)
...
server.close()
web.close()
```

The protocol is spoken here, with no package of its own: of 2026-07-28 and, where a server does not
know that, of 2025-11-25, 2025-06-18, 2025-03-26 or 2024-11-05; with a child process, or over HTTP.
One server serves all episodes, so use it for servers that keep no state.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qwq_env import portal
from qwq_env.checks import check_positive
from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.schema.validator import check_parameters
from qwq_env.tool import Tool, ToolResult
from qwq_env.tools.mcp.answers import MACHINERY, parameters_of, result_of, safe_name
from qwq_env.tools.mcp.connection import Connection, RemoteError
from qwq_env.tools.mcp.era import MODERN, Session, open_session
from qwq_env.tools.mcp.http_connection import (
    HttpConnection,
    SessionEnded,
    mirrored,
    parameter_headers,
)

_log = logging.getLogger(__name__)

_MOST_PAGES: Final = 100
_MOST_TOOLS: Final = 1_000
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class McpServer:
    """A server started by the command `server`, a list of words, or one at the address `server`.

    It is started, or greeted, when first needed and again after it has died. A child gets PATH,
    HOME, LANG and TMPDIR of the environment, and what `environment` holds; a server at an address
    gets the key that the environment variable `key_variable` holds, as a bearer's token.
    `seconds` bound its start and its answers; they must stay below `ToolLimits.seconds`.
    """

    def __init__(
        self,
        server: Sequence[str] | str,
        *,
        environment: Mapping[str, str] | None = None,
        key_variable: str | None = None,
        seconds: float = 20.0,
    ) -> None:
        if isinstance(server, str):
            if not server.startswith(("http://", "https://")):
                expected = "expected a list of words, or http://... or https://..."
                raise UsageError(f"MCP server, command: {server!r}; {expected}")
        elif not server or not all(isinstance(word, str) for word in server):
            raise UsageError(f"MCP server, command: {server!r}; expected a list of words")
        if key_variable is not None and not isinstance(server, str):
            raise UsageError("MCP server, key_variable: is for http://...; a child has environment")
        check_positive("MCP server, seconds", seconds)
        self.address = server if isinstance(server, str) else ""
        self.command = [] if isinstance(server, str) else list(server)
        self.name = self.address or self.command[0]
        self.environment = dict(environment or {})
        self.key_variable = key_variable
        self.seconds = seconds
        self._session: Session | None = None
        self._opening: asyncio.Lock | None = None
        self._legacy = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None, "_opening": None}

    @property
    def protocol(self) -> str:
        """The version that is spoken with the server, `""` before it was first asked."""
        return "" if self._session is None else self._session.version

    def tools(self) -> list[McpTool]:
        """Ask the server for its tools.

        One that cannot be used is left out, and logged; raises `UsageError` if that leaves none.
        """
        return portal.run(self._tools())

    async def call(
        self, name: str, arguments: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> ToolResult:
        """Call a tool; raises `ToolError` for its errors, `InfrastructureError` for ours."""
        return await portal.reach(self._call(name, arguments, headers))

    def close(self) -> None:
        """End the server; a later call starts it again."""
        portal.run(self._close())

    async def _tools(self) -> list[McpTool]:
        found: dict[str, McpTool] = {}
        names: dict[str, Any] = {}
        problem = ""
        for entry in await self._listed():
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str) and name in names:
                if names[name] != entry:
                    _log.warning(
                        "MCP server %s: offers %r twice; the first is kept", self.name, name
                    )
                continue
            try:
                tool = McpTool(self, entry, taken=found)
            except UsageError as error:
                problem = problem or str(error)
                _log.warning("%s; it is left out", error)
                continue
            names[tool.remote_name] = entry
            found[tool.name] = tool
        if problem and not found:
            raise UsageError(problem)
        return list(found.values())

    async def _listed(self) -> list[Any]:
        """Read every page. An empty cursor is one too; one that comes again would never end."""
        listed: list[Any] = []
        cursor: Any = None
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            try:
                page = await self._ask("tools/list", {} if cursor is None else {"cursor": cursor})
            except RemoteError as error:
                raise InfrastructureError(f"MCP server {self.name}: {error}") from None
            entries = page.get("tools") if isinstance(page, dict) else None
            if not isinstance(entries, list):
                raise InfrastructureError(f"MCP server {self.name}: lists no tools")
            listed += entries
            cursor = page.get("nextCursor")
            if cursor is None or repr(cursor) in seen or len(listed) > _MOST_TOOLS:
                break
            seen.add(repr(cursor))
        if len(listed) > _MOST_TOOLS:
            _log.warning("MCP server %s: of its tools, %d are taken", self.name, _MOST_TOOLS)
        return listed[:_MOST_TOOLS]

    async def _call(
        self, name: str, arguments: Mapping[str, Any], headers: Mapping[str, str] | None
    ) -> ToolResult:
        params = {"name": name, "arguments": arguments}
        try:
            answer = await self._ask("tools/call", params, headers)
        except RemoteError as error:
            if error.data == MACHINERY:
                raise InfrastructureError(f"MCP server {self.name}: {error}") from None
            raise ToolError(str(error)) from None
        return result_of(answer, f"MCP server {self.name}")

    async def _ask(
        self, method: str, params: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        try:
            async with asyncio.timeout(self.seconds):
                try:
                    return await (await self._connected()).request(method, params, headers)
                except SessionEnded:
                    # It has not been looked at; a new session is to be begun.
                    return await (await self._connected()).request(method, params, headers)
        except TimeoutError:
            raise InfrastructureError(
                f"MCP server {self.name}: no answer within {self.seconds:g} seconds"
            ) from None

    async def _connected(self) -> Session:
        if self._session is not None and self._session.connection.owner != os.getpid():
            # A fork: the server is the parent's, and so is whoever holds the lock.
            self._session = self._opening = None
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._session is None or not self._session.connection.alive:
                await self._close()
                self._session = await self._open()
            return self._session

    async def _open(self) -> Session:
        connection = await self._connection()
        try:
            session = await open_session(connection, legacy=self._legacy)
        except InfrastructureError:
            ended = not connection.alive
            await connection.aclose()
            if self._legacy or self.address or not ended:
                raise
            # Old servers are known to end at what they do not know: ask in their own way.
            self._legacy = True
            return await self._open()
        except BaseException:
            await connection.aclose()
            raise
        self._legacy = session.version != MODERN
        return session

    async def _connection(self) -> Connection | HttpConnection:
        connection: Connection | HttpConnection
        if self.address:
            connection = HttpConnection(self.address, self._key(), self.seconds)
        else:
            passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            connection = await Connection.open(self.command, {**passed_on, **self.environment})
        _open_connections.add(connection)
        return connection

    def _key(self) -> ApiKey:
        if self.key_variable is None:
            return ApiKey(None)
        if not (key := os.environ.get(self.key_variable)):
            raise UsageError(f"MCP server, key_variable: {self.key_variable} is not set")
        return ApiKey(key, self.key_variable)

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.connection.aclose()


class McpTool(Tool):
    """One tool of an `McpServer`; made by `McpServer.tools`.

    `remote_name` is the server's name for it, `name` one that every model can write. Raises
    `UsageError` for one that cannot be used.
    """

    def __init__(
        self, server: McpServer, entry: Any, *, taken: Mapping[str, object] | None = None
    ) -> None:
        where = f"MCP server {server.name}"
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise UsageError(f"{where}: offers a tool named {name!r:.200}")
        self.parameters = parameters_of(entry.get("inputSchema"))
        try:
            check_parameters(self.parameters)
            self._headers = mirrored(self.parameters) if server.address else {}
        except (UsageError, ValueError) as error:
            raise UsageError(f"{where}: tool {name!r:.100}: {error}") from None
        self.server = server
        self.remote_name = name
        self.name = safe_name(name, taken or {})
        hints = entry.get("annotations")
        self.replay = "idempotent" if _says(hints, "readOnlyHint", "idempotentHint") else "once"
        # What may change the server's state is called in the order that the model wrote.
        self.call_order = None if _says(hints, "readOnlyHint") else server
        self.description = str(entry.get("description") or entry.get("title") or name)

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Ask the server."""
        headers = parameter_headers(self._headers, arguments)
        return await self.server.call(self.remote_name, arguments, headers)


def _says(hints: Any, *names: str) -> bool:
    """Say whether a server says one of these of a tool. By the protocol, a tool of which nothing is
    said may change something, and do it again each time."""
    return isinstance(hints, dict) and any(hints.get(name) is True for name in names)


_open_connections: weakref.WeakSet[Connection | HttpConnection] = weakref.WeakSet()


@atexit.register
def _close_at_exit() -> None:
    for connection in list(_open_connections):
        if connection.owner == os.getpid():
            portal.run(connection.aclose())
