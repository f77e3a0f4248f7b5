"""Connections that are kept, and that they end with the pool."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from qwq_env.sandbox.http_pool import HttpPool


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("closed_when", ["in flight", "before"])
async def test_no_connection_outlives_the_pool(start: Any, closed_when: str) -> None:
    server = await start()
    pool = HttpPool(server.url, [("Content-Type", "application/json")])
    if closed_when == "before":
        await pool.request("GET", "/health")
        await pool.aclose()
    code = b'{"code": "import time; time.sleep(0.3); print(1)"}'
    asked = asyncio.create_task(pool.request("POST", "/v1/run", code))
    await until(lambda: server.service.queue.running)
    await pool.aclose()
    answer = await asked

    assert answer.status == 200
    await until(lambda: not server.service.connections)


async def test_a_connection_is_used_again(start: Any) -> None:
    server = await start()
    pool = HttpPool(server.url, [])
    for _ in range(3):
        await pool.request("GET", "/health")
    kept = len(server.service.connections)
    await pool.aclose()

    assert kept == 1


async def test_no_proxy_of_the_environment_is_asked(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    pool = HttpPool(server.url, [])
    answer = await pool.request("GET", "/health")
    await pool.aclose()

    assert answer.status == 200


@pytest.mark.parametrize(
    ("head", "status"), [("302 Found\r\nLocation: /other", 302), ("200 OK\r\nSet-Cookie: a=b", 200)]
)
async def test_what_a_server_asks_for_is_not_done(head: str, status: int) -> None:
    packed = gzip.compress(b"x" * 1000)
    asked = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            length = f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}"
            writer.write(f"HTTP/1.1 {head}\r\n{length}\r\n\r\n".encode() + packed)
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    pool = HttpPool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", [])
    answers = [await pool.request("GET", "/health") for _ in range(2)]
    await pool.aclose()
    server.close()

    assert [(answer.status, bytes(answer.body)) for answer in answers] == [(status, packed)] * 2
    assert all(text.startswith(b"GET /health ") and b"ookie" not in text for text in asked)
