"""A small MCP server that behaves, or misbehaves as the name of the tool called says.

    python mcp_server.py [ERA [PAGES]]

ERA is a protocol's version, or `silent` or `fragile` (an old one that does not answer, or ends, at
what it does not know) or `text` (an old one that writes ids as texts). PAGES is JSON: the answers
to `tools/list`, by cursor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NAMES = [["double", "image", "refuse", "unknown"], ["die", "hang", "nothing", "environment"]]
MODERN = "2026-07-28"
OLD = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
META = "io.modelcontextprotocol/"
STRUCTURED = {"answer": 42, "städte": ["Zürich"]}


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"{name}.", "inputSchema": SCHEMA, **more}


PAGES = {
    "first": {"tools": [entry(name) for name in NAMES[0]], "nextCursor": "1"},
    "1": {"tools": [entry(name) for name in NAMES[1]]},
}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    resource = {"type": "resource", "resource": {"text": "kept"}}
    blob = {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "x/y", "blob": "AA"}}
    link = {"type": "resource_link", "uri": "file:///b", "name": "b"}
    match name:
        case "double":
            return {"content": [text(str(2 * arguments["n"]))]}
        case "image":
            image = {"type": "image", "mimeType": "image/png", "data": "AA"}
            audio = {"type": "audio", "mimeType": "audio/wav", "data": "AA"}
            return {"content": [image, audio, resource, blob, link, {"type": "new"}, 7]}
        case "structured":
            return {"content": [], "structuredContent": STRUCTURED}
        case "only structured":
            return {"structuredContent": [1, None]}
        case "said twice":
            return {"content": [text(json.dumps(STRUCTURED))], "structuredContent": STRUCTURED}
        case "wrapped":
            return {"content": [text("Rome")], "structuredContent": {"result": "Rome"}}
        case "beside":
            return {"content": [text("see below")], "structuredContent": {"a": 1}}
        case "refuse":
            return {"content": [text("n is too large")], "isError": True}
        case "refuse, structured":
            return {"content": [], "structuredContent": {"why": "n"}, "isError": True}
        case "refuse, silent":
            return {"content": [], "isError": True}
        case "ask":
            return {"resultType": "input_required", "inputRequests": {"a": {}}}
        case "odd":
            return {"resultType": "odd", "content": []}
        case "die":
            os._exit(1)
        case "hang":
            time.sleep(1000)
        case "environment":
            return {"content": [text(" ".join(sorted(os.environ)))]}
    return {}


class Server:
    """What one of an era answers; `greeted` is an old one's state."""

    def __init__(self, era: str, pages: dict[str, Any]) -> None:
        self.era = era
        self.pages = pages
        self.greeted = False
        self.asked_for: list[Any] = []

    def answer(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what is said to a message: requests of the server's own, then the answer."""
        method, params, number = message.get("method"), message.get("params", {}), message.get("id")
        if method is None or number is None:
            self.greeted |= method == "notifications/initialized"
            return []
        number = str(number) if self.era == "text" else number
        if self.era == MODERN:
            version = params.get("_meta", {}).get(f"{META}protocolVersion")
            if version != MODERN or f"{META}clientCapabilities" not in params["_meta"]:
                data = {"supported": [MODERN], "requested": version}
                error = {"code": -32022, "message": "version", "data": data}
                return [{"id": number, "error": error}]
            if method == "server/discover":
                found = {
                    "supportedVersions": [MODERN],
                    "capabilities": {},
                    "resultType": "complete",
                }
                return [{"id": number, "result": found}]
        elif method == "initialize":
            version = self.era if self.era in OLD else params["protocolVersion"]
            ping = {"id": "p", "method": "ping"}
            roots = {"id": "r", "method": "roots/list"}
            return [ping, roots, {"id": number, "result": {"protocolVersion": version}}]
        elif not self.greeted:
            return [{"id": number, "error": {"code": -32602, "message": "not initialized"}}]
        if method == "tools/list":
            self.asked_for.append(params.get("cursor", "first"))
            return [{"id": number, "result": self.pages[params.get("cursor", "first")]}]
        if method == "tools/call" and params["name"] == "unknown":
            return [{"id": number, "error": {"code": -32602, "message": "no such tool"}}]
        if method == "tools/call":
            said = {"method": "notifications/message", "params": {"data": "working"}}
            return [said, {"id": number, "result": call(params["name"], params["arguments"])}]
        return [{"id": number, "error": {"code": -32601, "message": f"no {method}"}}]


def main() -> None:
    era = sys.argv[1] if len(sys.argv) > 1 else "2025-06-18"
    server = Server(era, json.loads(sys.argv[2]) if len(sys.argv) > 2 else PAGES)
    print("a banner that is not JSON", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "server/discover" and era in ("silent", "fragile"):
            if era == "fragile":
                sys.exit(1)
            continue
        for said in server.answer(message):
            print(json.dumps({"jsonrpc": "2.0", **said}), flush=True)


if __name__ == "__main__":
    main()
