"""The edges of the socket: clients that are slow, rude, gone, or half gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
from typing import Any

import pytest

from qwq_env.sandbox.server.connection import Deadlines
from qwq_env.sandbox.server.service import ServiceLimits

TOKEN = "a-long-enough-token"
SLEEP = "import time; time.sleep(60)"


def request(code: str, *headers: str, length: int | None = None) -> bytes:
    body = json.dumps({"code": code}).encode()
    lines = [
        "POST /v1/run HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def talk(server: Any, sent: bytes, *, half_close: bool = False) -> tuple[int, str, bytes]:
    """Send bytes, read to the end; returns the status, the error code, all that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(sent)
    if half_close:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await gone(writer)
    if not answer:
        return 0, "", answer
    body = answer.partition(b"\r\n\r\n")[2].decode()
    error = json.JSONDecoder().raw_decode(body)[0].get("error", {}) if body else {}
    return int(answer.split()[1]), error.get("code", ""), answer


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


async def gone(writer: asyncio.StreamWriter) -> None:
    """Wait for the end of a connection that we closed, however the server took it."""
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_client_that_leaves_takes_its_program_with_it(start: Any, sandbox: Any) -> None:
    server = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request(SLEEP))
    await until(lambda: sandbox.pids)
    writer.close()
    await gone(writer)
    await until(lambda: not sandbox.running)

    assert not alive(sandbox.pids[0])
    assert server.service.queue.running == 0
    assert server.service.metrics.clients_gone == 1


async def test_a_client_that_is_reset_takes_its_program_with_it(start: Any, sandbox: Any) -> None:
    server = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request(SLEEP))
    await until(lambda: sandbox.pids)
    writer.transport.abort()
    await gone(writer)
    await until(lambda: not sandbox.running)

    assert not alive(sandbox.pids[0])


async def test_a_client_that_leaves_the_queue_leaves_no_trace(start: Any, sandbox: Any) -> None:
    server = await start(limits=ServiceLimits(slots=1))
    writers = [(await asyncio.open_connection("127.0.0.1", port_of(server)))[1] for _ in range(3)]
    for writer in writers:
        writer.write(request(SLEEP))
    await until(lambda: server.service.queue.queued == 2 and sandbox.pids)
    for writer in reversed(writers):
        writer.close()
        await gone(writer)
    await until(lambda: not server.service.active)

    assert len(sandbox.pids) == 1
    assert (server.service.queue.running, server.service.queue.queued) == (0, 0)


async def test_a_half_closed_connection_is_told_why_its_program_ended(
    start: Any, sandbox: Any
) -> None:
    server = await start()

    status, code, _ = await talk(server, request(SLEEP), half_close=True)

    assert (status, code) == (400, "client_gone")
    await until(lambda: not sandbox.running)


@pytest.mark.parametrize("part", [b"POST /v1/run HT", request("1", length=5000), request("1")[:-5]])
async def test_half_a_request_and_then_the_end(start: Any, part: bytes) -> None:
    server = await start()

    status, code, _ = await talk(server, part, half_close=True)

    assert (status, code) == (400, "incomplete")


async def test_an_empty_connection_ends_without_a_word(start: Any) -> None:
    server = await start()

    assert await talk(server, b"", half_close=True) == (0, "", b"")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"POST /v1/run HT", (408, "too_slow")),
        (request("1", length=5000), (408, "too_slow")),
        (b"", (0, "")),
    ],
)
async def test_a_slow_request_is_cut(start: Any, sent: bytes, expected: tuple[int, str]) -> None:
    server = await start(deadlines=Deadlines(head=0.1, body=0.1))

    status, code, _ = await talk(server, sent)

    assert (status, code) == expected


async def test_a_byte_now_and_then_does_not_extend_the_deadline(start: Any) -> None:
    server = await start(deadlines=Deadlines(head=0.3))
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    answer = asyncio.create_task(reader.read())
    for byte in request("1") * 100:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
        if answer.done():
            break
    writer.close()
    await gone(writer)

    assert (await answer).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_closed(start: Any) -> None:
    server = await start(deadlines=Deadlines(idle=1))

    status, _, answer = await talk(server, request("1"))

    assert status == 200
    assert b"Connection: close" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        request("1", "Content-Length: 3"),
        b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n",
        request("1", "Transfer-Encoding: chunked"),
        request("1").replace(b"Content-Length: ", b"Content-Length: " + b"9" * 5000),
        b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
        b'c\r\n{"code": "1"}\r\n0\r\n\r\n',
    ],
)
async def test_what_is_not_http_is_refused(start: Any, sent: bytes) -> None:
    server = await start()

    status, code, _ = await talk(server, sent)

    assert (status, code) == (400, "bad_http")


async def test_an_endless_head_is_refused(start: Any) -> None:
    server = await start()

    status, code, _ = await talk(server, b"GET /health HTTP/1.1\r\nA: " + b"x" * 100_000)

    assert (status, code) == (431, "bad_http")


async def test_a_refusal_reaches_a_client_that_is_still_sending(start: Any) -> None:
    server = await start(limits=ServiceLimits(max_body=1000))

    status, code, _ = await talk(server, request("#" * 3_000_000))

    assert (status, code) == (413, "too_large")


async def test_a_big_body_waits_for_the_word_to_go_on(start: Any) -> None:
    server = await start()
    head, _, body = request("print(1)", "Expect: 100-continue").partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(head + b"\r\n\r\n")
    first = await reader.readuntil(b"\r\n\r\n")
    writer.write(body)
    second = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await gone(writer)

    assert first.startswith(b"HTTP/1.1 100 ")
    assert second.startswith(b"HTTP/1.1 200 ")


async def test_requests_sent_in_one_go_are_answered_in_order(start: Any) -> None:
    server = await start()
    sent = b"".join(request(f"print({i})") for i in range(5))

    _, _, answer = await talk(server, sent + request("print(5)", "Connection: close"))

    assert re.findall(rb'"stdout": "(\d)', answer) == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("early", [1, 400])
@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_a_client_that_leaves_takes_the_requests_it_sent_ahead_with_it(
    start: Any, sandbox: Any, gate: Any, leave: str, early: int
) -> None:
    server = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request(gate.code))
    await until(lambda: sandbox.pids)
    writer.write(request("'" + "x" * 1000 + "'") * early)
    await writer.drain()
    if leave == "close":
        writer.close()
    else:
        writer.transport.abort()
    await gone(writer)
    gate.open()
    await until(lambda: not server.service.connections and not server.service.active)

    assert len(sandbox.limits_seen) == 1
    assert not sandbox.running


async def test_a_client_that_leaves_is_noticed_though_it_has_sent_ahead(
    start: Any, sandbox: Any
) -> None:
    server = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request(SLEEP))
    await until(lambda: sandbox.pids)
    writer.write(request("2"))
    writer.close()
    await gone(writer)
    await until(lambda: not sandbox.running)

    assert len(sandbox.limits_seen) == 1
    assert not alive(sandbox.pids[0])


async def test_far_too_much_sent_ahead_is_not_kept_in_memory(start: Any, gate: Any) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request(gate.code))
    await until(lambda: server.service.queue.running)
    writer.write(request("#" * 100_000 + "\nprint(5)") * 40)
    (connection,) = server.service.connections
    await until(lambda: not connection._transport.is_reading())
    held = len(connection._http.trailing_data[0])
    gate.open()
    answered = [await reader.readuntil(b'"capped": []}') for _ in range(41)]
    writer.close()
    await gone(writer)

    assert held < 1_000_000
    assert all(b'"stdout": "5' in answer for answer in answered[1:])


async def test_a_client_that_does_not_read_is_cut(start: Any, sandbox: Any) -> None:
    server = await start(deadlines=Deadlines(write=0.2))
    mute = socket.create_connection(("127.0.0.1", port_of(server)))
    mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    mute.sendall(request("print('x' * 20_000_000)"))
    await until(lambda: sandbox.pids)
    await until(lambda: not server.service.connections)
    mute.close()

    assert not sandbox.running


async def test_requests_that_share_a_connection_wear_no_marks_of_each_other(start: Any) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    statuses = []
    for code in ("print(1)", "", "print(2)"):
        writer.write(request(code))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split()[0])
        await reader.readexactly(length)
        statuses.append(int(head.split()[1]))
    writer.close()
    await gone(writer)

    assert statuses == [200, 400, 200]


async def test_more_connections_than_there_is_room_for(start: Any) -> None:
    server = await start(limits=ServiceLimits(connections=2))
    kept = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(2)]
    await until(lambda: len(server.service.connections) == 2)
    status, code, _ = await talk(server, b"")
    for _, writer in kept:
        writer.close()
        await gone(writer)
    await until(lambda: not server.service.connections)
    after, _, _ = await talk(server, request("1", "Connection: close"))

    assert (status, code) == (503, "connections")
    assert after == 200


@pytest.mark.parametrize(
    "held", [b"", b"POST /v1/run HT", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_strangers_cannot_keep_out_those_who_know_the_token(start: Any, held: bytes) -> None:
    server = await start(token=TOKEN, limits=ServiceLimits(connections=3))
    strangers = []
    for _ in range(6):
        strangers.append(await asyncio.open_connection("127.0.0.1", port_of(server)))
        strangers[-1][1].write(held)
    await until(lambda: len(server.service.connections) == 3)
    known = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(3)]
    for reader, writer in known:
        writer.write(request("print(1)", f"Authorization: Bearer {TOKEN}"))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    status, code, _ = await talk(server, request("1", f"Authorization: Bearer {TOKEN}"))
    for _, writer in strangers + known:
        writer.close()
        await gone(writer)

    assert (status, code) == (503, "connections")


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_as_the_server_ends_is_closed_with_it(
    start: Any, turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    with socket.create_connection(("127.0.0.1", port_of(server))):
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.drain(0)
        left = set(server.service.connections)
        for _ in range(6):
            await asyncio.sleep(0)
            left |= set(server.service.connections)

    assert not left
    assert "transport creation" not in caplog.text
