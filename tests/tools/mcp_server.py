"""A small MCP server that behaves, or misbehaves as the name of the tool called says."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PAGES = [["double", "image", "refuse", "unknown"], ["die", "hang", "nothing", "environment"]]


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def tools(params: dict[str, Any]) -> dict[str, Any]:
    page = int(params.get("cursor", 0))
    listed = [
        {"name": name, "description": f"{name}.", "inputSchema": SCHEMA} for name in PAGES[page]
    ]
    return {"tools": listed, **({"nextCursor": "1"} if page == 0 else {})}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    match name:
        case "double":
            return {"content": [{"type": "text", "text": str(2 * arguments["n"])}]}
        case "image":
            resource = {"type": "resource", "resource": {"text": "kept"}}
            return {"content": [{"type": "image", "mimeType": "image/png"}, resource]}
        case "refuse":
            return {"content": [{"type": "text", "text": "n is too large"}], "isError": True}
        case "die":
            os._exit(1)
        case "hang":
            time.sleep(1000)
        case "environment":
            return {"content": [{"type": "text", "text": " ".join(sorted(os.environ))}]}
    return {}


def main() -> None:
    print("a banner that is not JSON", flush=True)
    greeted = False
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "initialize":
            say({"id": 1, "method": "ping"})
            say({"id": message["id"], "result": {"protocolVersion": params["protocolVersion"]}})
        elif method == "notifications/initialized":
            greeted = True
        elif method == "tools/list" and greeted:
            say({"id": message["id"], "result": tools(params)})
        elif method == "tools/call" and params["name"] == "unknown":
            say({"id": message["id"], "error": {"code": -32602, "message": "no such tool"}})
        elif method == "tools/call":
            result = call(params["name"], params["arguments"])
            say({"id": message["id"], "result": result})


main()
