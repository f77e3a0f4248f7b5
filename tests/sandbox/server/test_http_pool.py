"""Connections that are kept, and that they end with the pool."""

from __future__ import annotations

import asyncio
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
