"""MCP over HTTP, against a server of our own on this machine."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.toolbox import Toolbox
from qwq_env.tools.mcp import McpServer
from qwq_env.turn import ToolCall

spec = importlib.util.spec_from_file_location(
    "mcp_server", Path(__file__).with_name("mcp_server.py")
)
assert spec is not None and spec.loader is not None
mcp_server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mcp_server)
MODERN, OLD, entry = mcp_server.MODERN, mcp_server.OLD, mcp_server.entry


class Site(ThreadingHTTPServer):
    """One address; `how` says how it answers, `asked` what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.server = mcp_server.Server(OLD[-1], dict(mcp_server.PAGES))
        self.how: set[str] = set()
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.sessions = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


class Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def say(self, status: int, body: str = "", kind: str = "application/json", **more: str) -> None:
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_DELETE(self) -> None:
        self.server.asked.append(({"method": "DELETE"}, dict(self.headers)))
        self.say(405)

    def do_POST(self) -> None:
        site, size = self.server, int(self.headers["Content-Length"])
        message = json.loads(self.rfile.read(size))
        headers = {name.lower(): value for name, value in self.headers.items()}
        site.asked.append((message, headers))
        method = message.get("method")
        modern = site.server.era == MODERN
        if "key" in site.how and headers.get("authorization") != "Bearer s3cret":
            return self.say(401)
        if "broken" in site.how and method == "tools/call":
            return self.say(503)
        if "redirect" in site.how and not self.path.endswith("/"):
            return self.say(307, Location=f"{self.path}/")
        if method == "server/discover" and not modern and (odd := site.how & {"405", "500"}):
            return self.say(int(odd.pop()))
        session = f"s{site.sessions}"
        if not modern and method not in ("initialize", "server/discover"):
            if headers.get("mcp-session-id") != session:
                return self.say(404 if "mcp-session-id" in headers else 400)
            assert headers["mcp-protocol-version"] == OLD[-1]
        if modern and (headers.get("mcp-protocol-version"), headers["mcp-method"]) != (
            MODERN,
            method,
        ):
            return self.say(400, json.dumps({"error": {"code": -32020, "message": "headers"}}))
        answers = [{"jsonrpc": "2.0", **each} for each in site.server.answer(message)]
        if "id" not in message or not answers:
            return self.say(202)
        more = {}
        if method == "initialize":
            site.sessions += 1
            more = {"Mcp-Session-Id": f"s{site.sessions}"}
        if "sse" in site.how:
            events = "".join(f"id: 1\ndata: {json.dumps(each)}\n\n" for each in answers)
            if "cut" in site.how and method == "tools/call":
                events = events.partition("data: ")[0]
            return self.say(200, f": hello\n\n{events}", "text/event-stream", **more)
        status = 400 if "error" in answers[-1] and modern else 200
        return self.say(status, json.dumps(answers[-1]), **more)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize("era", [OLD[-1], MODERN])
@pytest.mark.parametrize("how", [set(), {"sse"}, {"redirect"}, {"405"}, {"sse", "405"}, {"500"}])
def test_a_server_at_an_address_is_asked(site: Site, era: str, how: set[str]) -> None:
    site.server.era, site.how = era, how
    server = McpServer(site.url)
    tools = server.tools()
    requests = [ToolCall("double", {"n": n}) for n in range(8)] + [ToolCall("refuse", {"n": 1})]
    results = asyncio.run(Toolbox(tools).run(requests))
    protocol = server.protocol
    server.close()

    assert (len(tools), protocol) == (8, era)
    assert [result.content for result in results[:8]] == [str(2 * n) for n in range(8)]
    assert (results[8].kind, results[8].content) == ("tool_error", "Error: n is too large")
    assert (site.asked[-1][0]["method"] == "DELETE") == (era != MODERN)
    asked = [m for m, _ in site.asked if m.get("method") in ("tools/list", "tools/call")]
    assert all(("_meta" in message["params"]) == (era == MODERN) for message in asked)


def test_the_servers_own_requests_are_answered(site: Site) -> None:
    site.how = {"sse"}
    server = McpServer(site.url)
    server.tools()
    server.close()
    replies = [asked for asked, _ in site.asked if "method" not in asked]

    assert replies[0] == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert replies[1]["error"]["code"] == -32601


def test_a_session_that_has_ended_is_begun_anew(site: Site) -> None:
    server = McpServer(site.url)
    server.tools()
    site.sessions += 1
    result = asyncio.run(server.call("double", {"n": 4}))
    server.close()

    assert (result.content, site.sessions) == ("8", 3)


def test_a_key_comes_from_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.how = {"key"}
    monkeypatch.setenv("TOOLS_KEY", "s3cret")
    server = McpServer(site.url, key_variable="TOOLS_KEY")

    assert len(server.tools()) == 8
    server.close()
    monkeypatch.setenv("TOOLS_KEY", "wrong")
    with pytest.raises(UsageError, match="refuses the key"):
        server.tools()
    monkeypatch.delenv("TOOLS_KEY")
    with pytest.raises(UsageError, match="TOOLS_KEY is not set"):
        server.tools()


@pytest.mark.parametrize(("how", "told"), [({"broken"}, "status 503"), ({"sse", "cut"}, "before")])
def test_a_server_in_trouble_is_failed_machinery(site: Site, how: set[str], told: str) -> None:
    server = McpServer(site.url)
    server.tools()
    site.how = how

    with pytest.raises(InfrastructureError, match=told):
        asyncio.run(server.call("double", {"n": 4}))
    server.close()


def test_no_server_is_failed_machinery_and_no_mcp_server_too(site: Site) -> None:
    for url in ("http://127.0.0.1:9/mcp", site.url):
        site.server.answer = lambda message: []  # type: ignore[method-assign]
        with pytest.raises(InfrastructureError, match="MCP server http"):
            McpServer(url).tools()


def test_an_error_of_a_modern_server_is_told_to_the_model(site: Site) -> None:
    site.server.era = MODERN
    server = McpServer(site.url)
    server.tools()

    with pytest.raises(ToolError, match="no such tool"):
        asyncio.run(server.call("unknown", {"n": 4}))
    server.close()


def annotated(name: Any, kind: str = "string") -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": kind, "x-mcp-header": name}}}


def test_arguments_are_mirrored_into_the_headers_that_a_tool_names(site: Site) -> None:
    site.server.era = MODERN
    deep = {"type": "object", "properties": {"b": {"type": "integer", "x-mcp-header": "Deep"}}}
    schema = annotated("Region")
    schema["properties"]["inner"] = deep
    hidden = {"type": "object", "properties": {"a": {"items": annotated("A")["properties"]["a"]}}}
    site.server.pages = {
        "first": {
            "tools": [
                entry("größe", inputSchema=schema),
                entry("bad1", inputSchema=annotated("")),
                entry("bad2", inputSchema=annotated("a b")),
                entry("bad3", inputSchema=annotated("A", "number")),
                entry("bad4", inputSchema=hidden),
            ]
        }
    }
    server = McpServer(site.url)
    (tool,) = server.tools()
    for value in ("us-west1", " padded ", "Zürich\n"):
        with pytest.raises(InfrastructureError):
            asyncio.run(tool.call({"a": value, "inner": {"b": 7}}))
    server.close()
    sent = [headers for asked, headers in site.asked if asked["method"] == "tools/call"]

    assert [headers["mcp-param-deep"] for headers in sent] == ["7"] * 3
    assert sent[0]["mcp-param-region"] == "us-west1"
    for headers, value in zip(sent[1:], (" padded ", "Zürich\n"), strict=True):
        coded = headers["mcp-param-region"].removeprefix("=?base64?").removesuffix("?=")
        assert base64.b64decode(coded).decode() == value
    assert base64.b64decode(sent[0]["mcp-name"][9:-2]).decode() == "größe"
