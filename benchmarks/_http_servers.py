"""Runs one HTTP server before a sandbox that answers at once: `python _http_servers.py SIDE`.

`ours` is the server as it is; `aiohttp` is aiohttp's low-level server with the same routes behind
it, and nothing of what ours adds at the edges (deadlines for a head, a body and a client that does
not read, a refusal on the head alone, a word to who has half left). `stub` answers every request
alike, for clients to be measured on. Each prints its address, then goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from qwq_env.sandbox import (
    DEFAULT_LIMITS,
    CallResult,
    ExecutionResult,
    Limits,
    Sandbox,
    SandboxSession,
)
from qwq_env.sandbox.server.lifecycle import SandboxServer
from qwq_env.sandbox.server.message import ApiError, Request
from qwq_env.sandbox.server.service import SandboxService, ServiceLimits

TOKEN: Final = "the-token-of-the-benchmark"
LIMITS: Final = ServiceLimits(slots=8, queue=8192, connections=8192)
RESULT: Final = ExecutionResult("ok", "1\n", exit_code=0, wall_seconds=0.002)
_BODY: Final = json.dumps({"result": RESULT.to_json(), "capped": []}).encode()
_HEAD: Final = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWER: Final = (_HEAD % len(_BODY)).encode() + _BODY


class Instant(Sandbox):
    """Every program prints 1, in no time."""

    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """Return the one result."""
        return RESULT

    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> SandboxSession:
        """There are none."""
        raise NotImplementedError

    async def call(self, *_: Any, **__: Any) -> list[CallResult]:
        """There are none."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


async def ours() -> None:
    """The server of `qwq sandbox serve`."""
    async with SandboxServer(Instant(), token=TOKEN, limits=LIMITS) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


async def aiohttp() -> None:
    """aiohttp's server, as bare and as fast as it is documented."""
    service = SandboxService(Instant(), LIMITS, TOKEN)

    async def handle(asked: web.BaseRequest) -> web.StreamResponse:
        names = {name.lower(): value for name, value in asked.headers.items()}
        head = Request(asked.method, asked.path, names, asked.remote or "local")
        try:
            service.judge(head, asked.protocol)  # type: ignore[arg-type]
            answer = await service.answer(head._replace(body=await asked.read()))
        except ApiError as error:
            answer = error.response()
        headers = [("Content-Type", answer.content_type), *answer.headers]
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    server = web.Server(handle, access_log=None, handler_cancellation=True)
    await _listen(server)


class Stub(asyncio.Protocol):
    """Just enough HTTP/1.1: whole requests with a Content-Length, answered in their order."""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            _, found, after = head.partition(b"content-length:")
            length = int(after.split(b"\r\n")[0]) if found else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(ANSWER)


async def stub() -> None:
    """A server that costs next to nothing."""
    await _listen(Stub)


async def _listen(protocol: Any) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(protocol, "127.0.0.1", 0, backlog=8192)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"ours": ours, "aiohttp": aiohttp, "stub": stub}[sys.argv[1]]())
