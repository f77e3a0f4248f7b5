"""Requests and replies that somebody chose: each costs bounded time and memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import CallResult, LocalSandbox, SandboxUnavailable
from qwq_env.sandbox.client import RemoteSandbox
from qwq_env.sandbox.server.lifecycle import SandboxServer
from qwq_env.sandbox.wire import write_calls

P = 2**61 - 1
COLLIDING = b",".join(b"%d" % (i * P) for i in range(100_000))
SHAPES = {
    "set of one hash": b'{"$set":[' + COLLIDING + b"]}",
    "keys of one hash": b'{"$dict":[[' + COLLIDING.replace(b",", b",0],[") + b",0]]}",
    "empty lists": b"[" + b"[]," * 2_600_000 + b"0]",
    "deep": b"[" * 7_000_000,
    "one integer": b"9" * 7_000_000,
    "hexadecimal": b'{"$int":"' + b"f" * 7_000_000 + b'"}',
    "escapes": b'"' + b"\\u0000" * 1_200_000 + b'"',
    "wide": '"\U0001f600'.encode() + b"a" * 7_000_000 + b'"',
    "strings": b"[" + b'"",' * 2_600_000 + b"0]",
    "many keys": b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}",
    "white space": b" " * 8_000_000,
    "spoilt at the end": b"[" + b"1," * 2_000_000 + b"}",
    "not UTF-8": b'"' + b"\xff" * 7_000_000 + b'"',
}


async def status_of(server: SandboxServer, path: str, body: bytes) -> int:
    """Send a body in a few writes and return the status; the answer is not read any further."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    for begin in range(0, len(body), 1 << 20):
        writer.write(body[begin : begin + (1 << 20)])
        await writer.drain()
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


@pytest.mark.parametrize(
    ("shape", "path"), [*((shape, "/v1/call") for shape in SHAPES), ("empty lists", "/run_code")]
)
async def test_a_request_of_any_shape_costs_little(
    start: Any, watch: Any, shape: str, path: str
) -> None:
    server = await start()
    body = b'{"arguments": [[' + SHAPES[shape] + b']], "code": "", "function": "f"}'

    async with watch():
        status = await status_of(server, path, body)
    assert status == 400


async def test_a_body_in_tiny_chunks_is_refused_at_once(start: Any, watch: Any) -> None:
    server = await start()
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /v1/run HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    async with watch():
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\n \r\n" * 100_000)
        line = await reader.readline()
    writer.close()

    assert line.split()[1] == b"400"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[RemoteSandbox]:
    """A client of a server that answers everything with `answer`."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with RemoteSandbox(f"http://127.0.0.1:{port}", patience_seconds=0.1) as remote:
        yield remote
    for _ in range(4):
        await asyncio.sleep(0)
    server.close()


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_reply_of_any_shape_costs_little(watch: Any, shape: str) -> None:
    body = b'{"results": [{"status": "ok", "value": ' + SHAPES[shape] + b"}]}"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async with answering(head + body) as remote, watch(most_growth=256 << 20):
        if shape in ("escapes", "wide", "many keys"):
            assert (await remote.call("1", "f", [[1]]))[0].ok
        else:
            with pytest.raises(SandboxUnavailable):
                await remote.call("1", "f", [[1]])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"a" * 4_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000_000,
    ],
)
async def test_a_reply_longer_than_any_that_was_asked_for_is_no_reply(
    watch: Any, answer: bytes
) -> None:
    async with answering(answer) as remote, watch(most_growth=32 << 20):
        with pytest.raises(SandboxUnavailable):
            await remote.run("1")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "ok", "stdout": 5},
        {"status": "ok", "value": [1]},
        {"status": "ok", "exit_code": "0"},
        {"status": "ok", "peak_memory_bytes": None},
        {"status": "ok", "wall_seconds": "1"},
        {"status": "ok", "truncated": [5]},
        {"status": "ok", "truncated": "stdout"},
        {"status": "ok", "state_lost": 1},
        {"status": ["ok"]},
        {"status": "ok", "more": 1},
    ],
)
async def test_a_result_with_a_field_of_another_kind_is_none(fields: Any) -> None:
    body = json.dumps({"result": fields, "capped": 5}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async with answering(head + body) as remote:
        with pytest.raises(SandboxUnavailable):
            await remote.run("1")


async def test_a_reply_holds_what_fits_and_says_what_does_not() -> None:
    results = [
        CallResult("ok", "\0" * 3_000_000),
        CallResult("ok", "\0" * 3_000_000),
        CallResult("ok", 3),
    ]
    reply = json.loads(await write_calls(results, []))["results"]
    (alone,) = json.loads(await write_calls([CallResult("ok", "\0" * 5_000_000)], []))["results"]

    assert [(each["status"], each["skipped"]) for each in reply] == [
        ("ok", False),
        ("unsupported", True),
        ("unsupported", True),
    ]
    assert (alone["status"], alone["skipped"]) == ("unsupported", False)


async def test_a_million_numbers_come_back_over_the_wire(watch: Any) -> None:
    async with (
        LocalSandbox(slots=1, preload=(), allow_unsafe=True) as sandbox,
        SandboxServer(sandbox) as server,
        RemoteSandbox(server.url) as remote,
    ):
        async with watch(most_growth=256 << 20):
            (result,) = await remote.call("def f(): return list(range(10**6))", "f", [[]])
        with pytest.raises(UsageError, match="of one hash"):
            await remote.call("def f(x): pass", "f", [[{i * P for i in range(300)}]])

    assert result.value == list(range(10**6))
