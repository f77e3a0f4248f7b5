"""`qwq serve`: our tools as an MCP server, an environment as an OpenEnv server."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.imports import named
from qwq_env.task import Task
from qwq_env.toolbox import ToolLimits
from qwq_env.tools import TOOLS, make_tool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq serve mcp` and `openenv`."""
    parser = subparsers.add_parser("serve", help=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    _add_mcp(actions)
    _add_openenv(actions)


def _add_mcp(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mcp = actions.add_parser(
        "mcp",
        help="serve tools and tool sets over the Model Context Protocol",
        epilog="example: PYTHONPATH=examples qwq serve mcp bank:Bank calculator --http 8000"
        " --metadata accounts.json",
    )
    mcp.add_argument(
        "tools",
        nargs="+",
        metavar="MODULE:THING",
        help=f"a function, a Tool, a ToolSet's class or a list of them; or {', '.join(TOOLS)}",
    )
    mcp.add_argument(
        "--http", metavar="[HOST:]PORT", help="over HTTP, at /mcp; else standard input and output"
    )
    mcp.add_argument(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="a JSON object: the metadata of the task with which tool sets start",
    )
    mcp.add_argument("--seconds", type=float, default=30.0, help="that a call may take (30)")
    mcp.add_argument("--characters", type=int, default=8_000, help="of an answer (8000)")
    _add_bounds(mcp)
    mcp.set_defaults(run=serve_mcp)


def _add_openenv(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    openenv = actions.add_parser(
        "openenv",
        help="serve an environment over OpenEnv",
        epilog="example: qwq serve openenv qwq/MathTool-v0 --http 8000",
    )
    openenv.add_argument("env_id", help="the environment, for example qwq/MathTool-v0")
    openenv.add_argument(
        "--http", metavar="[HOST:]PORT", default="8000", help="where (127.0.0.1:8000)"
    )
    _add_bounds(openenv)
    openenv.set_defaults(run=serve_openenv)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, default=64, help="at a time, over HTTP (64)")
    parser.add_argument("--idle", type=float, default=600.0, help="seconds until one ends (600)")
    parser.add_argument(
        "--key-variable",
        metavar="NAME",
        help="the environment variable that holds the key which clients must send as a bearer's"
        " token; needed for an address that others reach",
    )


def serve_mcp(arguments: argparse.Namespace) -> int:
    """Serve until the client goes away, or until interrupted."""
    from qwq_env.interop.mcp_serve import serve_http, serve_stdio  # noqa: PLC0415 - optional
    from qwq_env.interop.mcp_server import mcp_server  # noqa: PLC0415 - optional

    bounds = {"sessions": arguments.sessions, "idle_seconds": arguments.idle}
    limits = ToolLimits(seconds=arguments.seconds, characters=arguments.characters)
    task = Task("mcp", "", None, metadata=metadata_of(arguments.metadata))
    server = mcp_server(things(arguments.tools), limits=limits, task=task, **bounds)
    if arguments.http is None:
        asyncio.run(serve_stdio(server))
        return 0
    host, port = address(arguments.http)
    key = key_of(arguments.key_variable)
    asyncio.run(serve_http(server, host=host, port=port, key=key, **bounds))
    return 0


def serve_openenv(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from qwq_env.interop.openenv_server import serve  # noqa: PLC0415 - optional

    host, port = address(arguments.http)
    serve(
        arguments.env_id, host=host, port=port, key=key_of(arguments.key_variable),
        sessions=arguments.sessions, idle_seconds=arguments.idle,
    )  # fmt: skip
    return 0


def things(names: list[str]) -> list[Any]:
    """Return what names stand for: `module:thing`, a list of things, or a tool of the library's.

    Raises `UsageError` for what there is not.
    """
    found: list[Any] = []
    for name in names:
        if ":" not in name:
            if name not in TOOLS:
                raise unknown("tool", name, [*TOOLS, "MODULE:THING"])
            found.append(make_tool(name))
            continue
        value = named(name, "tools")
        found += value if isinstance(value, list | tuple) else [value]
    return found


def metadata_of(path: Path | None) -> dict[str, Any]:
    """Return the JSON object in a file. Raises `UsageError` for a file that holds none."""
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--metadata: {path}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"--metadata: {path}: {brief(value)}; expected an object")
    return value


def address(given: str) -> tuple[str, int]:
    """Return host and port of `[HOST:]PORT`. Raises `UsageError` for what is none."""
    host, _, port = given.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"--http: {given}; expected a port, or HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def key_of(variable: str | None) -> str | None:
    """Return the key that an environment variable holds. Raises `UsageError` if it holds none."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if len(key) < 16:
        raise UsageError(f"--key-variable: {variable} holds {len(key)} characters; expected 16")
    return key
