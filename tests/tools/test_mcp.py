from __future__ import annotations

import asyncio
import importlib.util
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.toolbox import Toolbox
from qwq_env.tools.mcp import McpServer, McpTool
from qwq_env.tools.mcp import era as mcp_era
from qwq_env.turn import ToolCall

spec = importlib.util.spec_from_file_location(
    "mcp_server", Path(__file__).with_name("mcp_server.py")
)
assert spec is not None and spec.loader is not None
mcp_server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mcp_server)
MODERN, OLD, SCHEMA, STRUCTURED = (
    mcp_server.MODERN, mcp_server.OLD, mcp_server.SCHEMA, mcp_server.STRUCTURED,
)  # fmt: skip
entry = mcp_server.entry
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
    assert (await server.call("image", {"n": 1})).content.split("\n") == [
        "[image: image/png]",
        "[audio: audio/wav]",
        "kept",
        "[resource: file:///a, x/y]",
        "[resource link: b, file:///b]",
        "[new: not text]",
        "7",
    ]
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
    with pytest.raises(UsageError, match="key_variable: is for http"):
        McpServer(["npx"], key_variable="KEY")
    with pytest.raises(UsageError, match="offers a tool named ''"):
        McpTool(McpServer(["npx"]), {"name": ""})
    with pytest.raises(UsageError, match="expected a JSON schema of type 'object'"):
        McpTool(McpServer(["npx"]), {"name": "a", "inputSchema": []})
    with pytest.raises(InfrastructureError, match="does not start"):
        McpServer(["/nowhere/server"]).tools()
    with pytest.raises(InfrastructureError, match="has ended"):
        McpServer([sys.executable, "-c", "pass"]).tools()


ERAS = [*OLD, MODERN, "silent", "fragile", "text"]


def served(era: str, pages: dict[str, Any] | None = None, **settings: Any) -> McpServer:
    return McpServer([*COMMAND, era, *([json.dumps(pages)] if pages else [])], **settings)


@pytest.mark.parametrize("era", ERAS)
def test_every_protocol_is_spoken_and_found_out(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if era == "silent":
        monkeypatch.setattr(mcp_era, "_PROBE_SECONDS", 0.3)
    server = served(era)
    tools = server.tools()
    (result,) = asyncio.run(Toolbox([tools[0]]).run([ToolCall("double", {"n": 4})]))
    protocol = server.protocol
    server.close()
    again = [tool.name for tool in server.tools()]
    server.close()

    assert (result.content, len(tools)) == ("8", 8)
    assert protocol == (era if era in (*OLD, MODERN) else OLD[-1])
    assert again == [tool.name for tool in tools]


@pytest.mark.parametrize("era", [OLD[0], OLD[-1], MODERN, "silent"])
def test_a_server_that_is_slow_to_start_is_found_out_too(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_era, "_PROBE_SECONDS", 0.001)
    server = served(era)
    tools = server.tools()
    protocol = server.protocol
    server.close()

    assert (len(tools), protocol) == (8, OLD[-1] if era == "silent" else era)


def test_a_server_without_a_common_version_is_named() -> None:
    code = (
        "import json,sys\nfor line in sys.stdin:\n m=json.loads(line)\n print(json.dumps("
        "{'id': m['id'], 'error': {'code': -32022, 'message': 'no',"
        " 'data': {'supported': ['2031-01-01']}}}), flush=True)"
    )

    with pytest.raises(InfrastructureError, match="speaks 2031-01-01; expected one of 2026-07-28"):
        McpServer([sys.executable, "-c", code]).tools()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("structured", '{"answer": 42, "städte": ["Zürich"]}'),
        ("only structured", "[1, null]"),
        ("said twice", json.dumps(STRUCTURED)),
        ("wrapped", "Rome"),
        ("beside", 'see below\n{"a": 1}'),
    ],
)
async def test_structured_content_is_read_once(server: McpServer, name: str, content: str) -> None:
    assert (await server.call(name, {})).content == content


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("refuse, structured", ToolError, '{"why": "n"}'),
        ("refuse, silent", ToolError, "did not say why"),
        ("ask", ToolError, "only a person could give"),
        ("odd", InfrastructureError, "result of type 'odd'"),
    ],
)
async def test_a_failure_is_told_to_whom_it_concerns(
    server: McpServer, name: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        await server.call(name, {})


FIVE = [entry(f"t{n}") for n in range(5)]


@pytest.mark.parametrize(
    "pages",
    [
        {"first": {"tools": FIVE, "nextCursor": ""}, "": {"tools": FIVE, "nextCursor": ""}},
        {"first": {"tools": FIVE[:2], "nextCursor": ""}, "": {"tools": FIVE[2:]}},
        {"first": {"tools": FIVE, "nextCursor": "a"}, "a": {"tools": [], "nextCursor": "a"}},
        {
            "first": {"tools": FIVE[:3], "nextCursor": "a"},
            "a": {"tools": FIVE[3:], "nextCursor": "b"},
            "b": {"tools": FIVE, "nextCursor": "a"},
        },
        {"first": {"tools": FIVE, "nextCursor": None}},
        {"first": {"tools": [*FIVE, *FIVE]}},
    ],
)
def test_pages_end_and_a_tool_is_listed_once(pages: dict[str, Any]) -> None:
    server = served("2025-11-25", pages)
    names = [tool.name for tool in server.tools()]
    server.close()

    assert names == ["t0", "t1", "t2", "t3", "t4"]


def test_tools_are_bounded() -> None:
    many = {"tools": [entry(f"t{n}", inputSchema={}) for n in range(1_200)]}
    server = served("2025-11-25", {"first": many})
    tools = server.tools()
    server.close()

    assert len(tools) == 1_000


def test_one_tool_that_cannot_be_used_does_not_cost_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = [
        entry("files/read"),
        entry("files read"),
        entry("größe"),
        entry("日本"),
        entry("admin.tools.list"),
        entry("x" * 200),
        entry("none", inputSchema=None),
        entry("empty", inputSchema={}),
        entry("untyped", inputSchema={"properties": {"n": {"pattern": "^\\\\p{L}+$"}}}),
        entry("double", inputSchema={**SCHEMA, "$schema": "http://json-schema.org/draft-07/schema"}),
        {"name": ""}, {"name": None}, 7, entry("bad", inputSchema={"properties": 3}),
        entry("list", inputSchema=[]),
    ]  # fmt: skip
    odd[6] = {key: value for key, value in odd[6].items() if key != "inputSchema"}  # type: ignore[attr-defined]
    server = served("2026-07-28", {"first": {"tools": odd}})
    tools = {tool.name: tool for tool in server.tools()}
    result = asyncio.run(tools["double"].call({"n": 4}))
    server.close()

    assert list(tools) == [
        "files_read", "files_read_2", "gr_e", "tool", "admin.tools.list", "x" * 64, "none", "empty",
        "untyped", "double",
    ]  # fmt: skip
    assert tools["files_read"].remote_name == "files/read"
    assert tools["none"].parameters == {"type": "object", "properties": {}}
    assert result.content == "8"
    assert sum("left out" in record.message for record in caplog.records) == 5
    Toolbox(list(tools.values()))


def test_a_server_of_unusable_tools_alone_is_refused() -> None:
    server = served("2025-06-18", {"first": {"tools": [{"name": ""}]}})
    with pytest.raises(UsageError, match="offers a tool named ''"):
        server.tools()
    server.close()
