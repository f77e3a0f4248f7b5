"""Our tools and tool sets as a server of the Model Context Protocol.

    qwq serve mcp my_tools:population my_tools:Notes   # over standard input and output
    qwq serve mcp calculator --http 8000               # at http://127.0.0.1:8000/mcp

```python
import asyncio

from mcp import Client

from qwq_env.interop.mcp_server import mcp_server
from qwq_env.tools import Calculator


async def main() -> None:
    async with Client(mcp_server([Calculator()])) as client:
        answer = await client.call_tool("calculator", {"expression": "6*7"})
        print(answer.content[0].text)


asyncio.run(main())
```

The protocol is spoken by its official SDK; every call goes through a `Toolbox`, so deadlines,
output caps and the checks of arguments hold. What the model can mend, and what a tool says of its
own failure, is a result with `isError`, which clients show to their model; a tool that there is
not, and machinery that failed, is an error of the protocol; the latter says so in its `data`, by
which our own client (`qwq_env.tools.McpServer`) counts the episode as lost.

Tools with a state have one for each session: the process over stdio, and over HTTP a session of
the protocol up to 2025-11-25. That of 2026-07-28 has no sessions: it serves tools without state,
and clients of a server with state are told to speak the older one.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from qwq_env._version import __version__
from qwq_env.checked_tools import ToolLike, checked_tools
from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.interop.extra import extra
from qwq_env.task import Task
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox, ToolLimits, no_such_tool
from qwq_env.tools.mcp.answers import MACHINERY
from qwq_env.turn import ToolCall

with extra("mcp"):
    import mcp_types as types
    from mcp.server import Server
    from mcp.shared.exceptions import MCPError
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_AT_A_TIME: Final = 64
_BUSY: Final = -32000
_GONE: Final = -32001
_STDIO: Final = "stdio"
_SHARED: Final = "shared"
_REMEMBERED: Final = 4096


def mcp_server(
    tools: Sequence[ToolLike],
    *,
    limits: ToolLimits | None = None,
    task: Task | None = None,
    name: str = "qwq-env",
    sessions: int = 64,
    idle_seconds: float = 600.0,
) -> ToolServer:
    """Return the SDK's server of these tools, to `run` or to serve by `streamable_http_app`.

    `task` is what a tool set's `start` gets. At most `sessions` have tools of their own at a time;
    those of one that is silent for `idle_seconds` are closed, and it is told so. Raises
    `UsageError` for tools that are none, and for names that the protocol does not know (letters,
    digits, `_`, `.`, `-`).
    """
    check_whole("sessions", sessions)
    check_positive("idle_seconds", idle_seconds)
    checked = checked_tools(tools)
    for each in checked:
        if not _NAME.fullmatch(each.name):
            expected = "1 to 128 letters, digits, '_', '.' or '-', as MCP has it"
            raise UsageError(f"tool name: {brief(each.name)}; expected {expected}")
    stateful = bool(checked.sets) or any(type(t).for_episode is not Tool.for_episode
                                         for t in checked.single)  # fmt: skip

    def make() -> Toolbox:
        return Toolbox(checked, task=task or Task("mcp", "", None), limits=limits)

    async def list_tools(context: Any, parameters: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in checked])

    async def call_tool(context: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        key = _session(context, stateful)
        if call.name not in {tool.name for tool in checked}:
            told = no_such_tool(call.name, [tool.name for tool in checked])
            raise MCPError(types.INVALID_PARAMS, told)
        return await _run(server.table, key, ToolCall(call.name, call.arguments or {}))

    async def discover(context: Any, parameters: Any) -> Any:
        _session(context, stateful)
        return await known.handler(context, parameters)

    server = ToolServer(
        ToolboxTable(make, sessions, idle_seconds), name, version=__version__,
        on_list_tools=list_tools, on_call_tool=call_tool,
    )  # fmt: skip
    known = server.get_request_handler("server/discover")
    assert known is not None
    server.add_request_handler("server/discover", types.RequestParams, discover)
    return server


class ToolServer(Server[None]):  # type: ignore[misc]  # its package is read without types
    """A server of the SDK with the toolboxes of its sessions, which it closes with itself."""

    def __init__(self, table: ToolboxTable, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, lifespan=self._live, **named)
        self.table = table

    @asynccontextmanager
    async def _live(self, server: Any) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(self.table.sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            await self.table.aclose()


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name, description=tool.description, input_schema=dict(tool.parameters)
    )


def _session(context: Any, stateful: bool) -> str:
    """Return whose tools a request is for: its session's, or those that all share.

    Raises `MCPError` where there would have to be a session and can be none.
    """
    if context.request is None:
        return _STDIO
    if not stateful:
        return _SHARED
    spoken, session = context.protocol_version, context.request.headers.get("mcp-session-id")
    # Of those that know sessions, the SDK has found this one to exist; others may send anything.
    if spoken in HANDSHAKE_PROTOCOL_VERSIONS and session is not None:
        return f"session {session}"
    data = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": spoken}
    message = f"these tools have a state, and {spoken} has no sessions; initialize one"
    raise MCPError(types.UNSUPPORTED_PROTOCOL_VERSION, message, data)


async def _run(table: ToolboxTable, key: str, call: ToolCall) -> types.CallToolResult:
    try:
        async with table.use(key) as toolbox:
            [result] = await toolbox.run([call])
    except (InfrastructureError, UsageError) as error:
        raise MCPError(types.INTERNAL_ERROR, str(error), MACHINERY) from None
    content = [types.TextContent(type="text", text=result.content)]
    return types.CallToolResult(content=content, is_error=result.status != "ok")


class _Held:
    """A session's toolbox, how many calls are on it, and when the last one ended."""

    __slots__ = ("calls", "last_used", "starting", "toolbox")

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox, self.calls, self.last_used = toolbox, 0, time.monotonic()
        self.starting = asyncio.Lock()


class ToolboxTable:
    """A toolbox for each session: made when it is first used, closed when nobody uses it."""

    def __init__(self, make: Callable[[], Toolbox], capacity: int, idle_seconds: float) -> None:
        self._make, self._capacity, self._idle_seconds = make, capacity, idle_seconds
        self._held: dict[str, _Held] = {}
        self._silent: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def use(self, key: str) -> AsyncIterator[Toolbox]:
        """Hold a session's toolbox for a call. Raises `MCPError` where there is no place left."""
        held = self._held.get(key)
        if held is None:
            if key in self._silent:
                message = f"the tools were closed after {self._idle_seconds:g} seconds of silence"
                raise MCPError(_GONE, f"{message}; begin a new session", MACHINERY)
            if len(self._held) >= self._capacity:
                message = f"all {self._capacity} sessions are in use; try again later"
                raise MCPError(_BUSY, message, MACHINERY)
            held = self._held[key] = _Held(self._make())
        if held.calls >= _AT_A_TIME:
            raise MCPError(_BUSY, f"{held.calls} calls of this session are running; wait for one")
        held.calls += 1
        try:
            await self._started(key, held)
            yield held.toolbox
        finally:
            held.calls -= 1
            held.last_used = time.monotonic()

    async def _started(self, key: str, held: _Held) -> None:
        """Start the toolbox; calls that come meanwhile wait for it."""
        async with held.starting:
            try:
                if self._held.get(key) is not held:
                    raise InfrastructureError("the tools of this session could not be started")
                await held.toolbox.start()
            except BaseException:
                if self._held.get(key) is held:
                    await self.drop(key)
                raise

    async def drop(self, key: str) -> None:
        """Close the toolbox of a session that has ended."""
        if (held := self._held.pop(key, None)) is not None:
            await held.toolbox.aclose()

    async def sweep(self) -> None:
        """Close what is idle, until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, self._idle_seconds / 4))
            oldest = time.monotonic() - self._idle_seconds
            for key, held in list(self._held.items()):
                # What all share has no state, and the client over stdio no session to begin anew.
                if key not in (_STDIO, _SHARED) and not held.calls and held.last_used < oldest:
                    # Its client may still be there, and must not take a new state for the old.
                    self._silent[key] = None
                    await self.drop(key)
            while len(self._silent) > _REMEMBERED:
                del self._silent[next(iter(self._silent))]

    async def aclose(self) -> None:
        """Close every toolbox."""
        for key in list(self._held):
            await self.drop(key)
