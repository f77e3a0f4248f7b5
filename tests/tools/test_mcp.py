from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.toolbox import Toolbox
from qwq_env.tools.mcp import McpServer, McpTool
from qwq_env.turn import ToolCall

COMMAND = [sys.executable, str(Path(__file__).with_name("mcp_server.py"))]


@pytest.fixture
def server() -> Iterator[McpServer]:
    made = McpServer(COMMAND, environment={"TOKEN": "x"})
    yield made
    made.close()
    assert not [child for child in psutil.Process().children() if "mcp_server" in str(child)]


def test_every_page_of_tools_is_read(server: McpServer) -> None:
    tools = server.tools()

    assert [tool.name for tool in tools[:3]] == ["double", "image", "refuse"]
    assert len(tools) == 8
    assert tools[0].schema()["function"]["parameters"]["required"] == ["n"]


def test_calls_run_side_by_side_and_are_checked(server: McpServer) -> None:
    box = Toolbox(server.tools())
    requests = [ToolCall("double", {"n": n}) for n in range(20)] + [ToolCall("double", {})]
    results = asyncio.run(box.run(requests))

    assert [result.content for result in results[:20]] == [str(2 * n) for n in range(20)]
    assert results[20].kind == "missing_argument"


async def test_what_a_server_may_answer(server: McpServer) -> None:
    assert (await server.call("image", {"n": 1})).content == "[image: image/png]\nkept"
    with pytest.raises(ToolError, match="n is too large"):
        await server.call("refuse", {"n": 1})
    with pytest.raises(ToolError, match="no such tool"):
        await server.call("unknown", {"n": 1})
    with pytest.raises(InfrastructureError, match="without content"):
        await server.call("nothing", {"n": 1})


async def test_a_server_that_dies_is_started_again(server: McpServer) -> None:
    with pytest.raises(InfrastructureError, match="has ended"):
        await server.call("die", {"n": 1})

    assert (await server.call("double", {"n": 4})).content == "8"


async def test_a_server_that_hangs_is_not_waited_for(server: McpServer) -> None:
    await server.call("double", {"n": 1})
    server.seconds = 0.2

    with pytest.raises(InfrastructureError, match=r"no answer within 0\.2 seconds"):
        await server.call("hang", {"n": 1})


async def test_a_server_sees_no_secrets(server: McpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    seen = (await server.call("environment", {"n": 1})).content.split()

    assert "TOKEN" in seen and "PATH" in seen
    assert "SECRET" not in seen


def test_a_tool_travels_to_another_process(server: McpServer) -> None:
    tool = pickle.loads(pickle.dumps(server.tools()[0]))

    assert asyncio.run(tool.call({"n": 3})).content == "6"
    tool.server.close()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="expected a list of words"):
        McpServer("npx server")
    with pytest.raises(UsageError, match="seconds: 0"):
        McpServer(["npx"], seconds=0)
    with pytest.raises(UsageError, match="offers a tool named 'a b'"):
        McpTool(McpServer(["npx"]), {"name": "a b"})
    with pytest.raises(UsageError, match="no schema of an object"):
        McpTool(McpServer(["npx"]), {"name": "a", "inputSchema": []})
    with pytest.raises(InfrastructureError, match="does not start"):
        McpServer(["/nowhere/server"]).tools()
    with pytest.raises(InfrastructureError, match="has ended"):
        McpServer([sys.executable, "-c", "pass"]).tools()
