"""`qwq sandbox serve`: the options, and the server run in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from qwq_env.errors import UsageError
from qwq_env.sandbox.local import LocalSandbox
from qwq_env.sandbox.server.lifecycle import SandboxServer, serve_until_told
from qwq_env.sandbox.server.service import MAXIMA, ServiceLimits
from qwq_env.sandbox.wire import TOKEN_VARIABLE

DEFAULT_PORT: Final = 8321
_MOST_DESCRIPTORS: Final = 65_536
_DEFAULTS: Final = ServiceLimits()

_BOUNDS: Final = (
    ("--queue", _DEFAULTS.queue, None, "requests that may wait"),
    ("--sessions", _DEFAULTS.sessions, None, "sessions at most"),
    ("--session-idle", _DEFAULTS.session_idle_seconds, "S", "close a session unused for so long"),
    ("--max-seconds", MAXIMA.wall_seconds, "S", "wall and CPU time of one program at most"),
    ("--max-memory", MAXIMA.memory_mb, "MB", "memory of one program at most"),
    ("--max-body", _DEFAULTS.max_body >> 20, "MB", "size of one request at most"),
)
"""Options: name, default (which tells the type), unit, and what is bounded."""


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve` to its parser."""
    parser.description = (
        f"Run programs for others over HTTP. The token is read from {TOKEN_VARIABLE} or from "
        "--token-file; without one only this machine is served."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port; 0 takes a free one (%(default)s)"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the bearer token")
    parser.add_argument(
        "--drain",
        type=float,
        default=30.0,
        metavar="S",
        help="after SIGTERM, let what runs end and open sessions go on for so long (%(default)s)",
    )
    parser.add_argument("--require", metavar="LEVEL", help="refuse to serve below this isolation")
    parser.add_argument(
        "--allow-unsafe", action="store_true", help="serve even without any isolation"
    )
    _add_bounds(parser.add_argument_group("bounds"))


def _add_bounds(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--slots", type=int, help="programs at once (cores + 1)")
    for option, default, unit, what in _BOUNDS:
        parser.add_argument(
            option, type=type(default), default=default, metavar=unit, help=f"{what} (%(default)s)"
        )


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 if all that was taken was answered, else 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return asyncio.run(_serve(arguments, read_token(arguments.token_file), service(arguments)))


async def _serve(arguments: argparse.Namespace, token: str | None, limits: ServiceLimits) -> int:
    sandbox = LocalSandbox(
        arguments.slots, require=arguments.require, allow_unsafe=arguments.allow_unsafe
    )
    limits = within_descriptors(replace(limits, slots=sandbox.slots))
    server = SandboxServer(
        sandbox, host=arguments.host, port=arguments.port, token=token, limits=limits
    )
    async with sandbox:
        await sandbox.start()
        async with server:
            print(f"serving on {server.url}: level {sandbox.level}, {limits.slots} slots")
            sys.stdout.flush()
            return 0 if await serve_until_told(server, arguments.drain) else 1


def within_descriptors(limits: ServiceLimits) -> ServiceLimits:
    """Have as many descriptors as may be had, and leave half of them to slots and sessions.

    The usual soft limit of 1,024 is below the number of connections: whoever opens so many,
    token or not, would leave the server unable to accept or to run anything.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return replace(limits, connections=min(limits.connections, most // 2))


def service(arguments: argparse.Namespace) -> ServiceLimits:
    """Return what the options allow; raises `UsageError` that names the option."""
    if not 0 <= arguments.port <= 65_535:
        raise UsageError(f"port: {arguments.port} is out of bounds, expected 0 to 65535")
    for name, least in (("queue", 0), ("sessions", 0), ("max_body", 1), ("drain", 0)):
        value = getattr(arguments, name)
        if not value >= least:
            option = name.replace("_", "-")
            raise UsageError(f"{option}: {value} is too small, expected {least} or more")
    if not arguments.session_idle > 0:
        raise UsageError(f"session-idle: {arguments.session_idle} is not positive")
    try:
        maxima = replace(
            MAXIMA,
            wall_seconds=arguments.max_seconds,
            cpu_seconds=arguments.max_seconds,
            memory_mb=arguments.max_memory,
        )
    except UsageError as error:
        raise UsageError(f"max-seconds, max-memory: {error}") from None
    return replace(
        _DEFAULTS,
        queue=arguments.queue,
        sessions=arguments.sessions,
        session_idle_seconds=arguments.session_idle,
        max_body=arguments.max_body << 20,
        maxima=maxima,
    )


def read_token(file: Path | None) -> str | None:
    """Return the token of the file, else of the environment, else None."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"token-file: {file} cannot be read: {error}") from None
    if not token:
        raise UsageError(f"token-file: {file} is empty")
    return token
