"""Sessions over HTTP: kept, shared safely, ended, expired, used after their end."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from qwq_env.sandbox import Limits, RemoteSandbox, SandboxUnavailable
from qwq_env.sandbox.server.service import ServiceLimits


async def open_session(http: httpx.AsyncClient) -> str:
    response = await http.post("/v1/sessions", json={})
    assert response.status_code == 201
    return response.json()["id"]


async def test_names_live_on_from_step_to_step(http: httpx.AsyncClient) -> None:
    path = f"/v1/sessions/{await open_session(http)}"
    await http.post(f"{path}/run", json={"code": "x = 20"})
    step = await http.post(f"{path}/run", json={"code": "x + 1"})
    closed = await http.delete(path)
    after = await http.post(f"{path}/run", json={"code": "x"})
    again = await http.delete(path)

    assert step.json()["result"]["value"] == "21"
    assert closed.json() == {"closed": True}
    assert (after.status_code, after.json()["error"]["code"]) == (410, "session_closed")
    assert "was closed" in after.json()["error"]["message"]
    assert again.status_code == 410


async def test_no_session_is_found_by_guessing(http: httpx.AsyncClient) -> None:
    names = [base64.urlsafe_b64decode(await open_session(http)) for _ in range(4)]

    assert min(map(len, names)) >= 16
    # Random bytes are the same in all four at a place once in 16 million times.
    assert all(len(set(place)) > 1 for place in zip(*names, strict=True))


async def test_a_session_that_never_was(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/sessions/nobody/run", json={"code": "1"})

    assert (response.status_code, response.json()["error"]["code"]) == (404, "session_unknown")


async def test_an_empty_step_is_refused(http: httpx.AsyncClient) -> None:
    name = await open_session(http)

    response = await http.post(f"/v1/sessions/{name}/run", json={"code": "\n"})

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "code: is empty, expected a program"


async def test_two_sessions_share_nothing(http: httpx.AsyncClient) -> None:
    one, two = await open_session(http), await open_session(http)
    await http.post(f"/v1/sessions/{one}/run", json={"code": "x = 1"})
    await http.post(f"/v1/sessions/{two}/run", json={"code": "x = 2"})
    response = await http.post(f"/v1/sessions/{one}/run", json={"code": "x"})

    assert response.json()["result"]["value"] == "1"


async def test_an_idle_session_is_closed_and_says_so(start: Any, sandbox: Any) -> None:
    server = await start(limits=ServiceLimits(session_idle_seconds=0.2))
    async with httpx.AsyncClient(base_url=server.url) as http:
        name = await open_session(http)
        while not sandbox.sessions[0].closed:
            await asyncio.sleep(0.02)
        response = await http.post(f"/v1/sessions/{name}/run", json={"code": "1"})

    assert response.status_code == 410
    assert "was idle for 0.2 s" in response.json()["error"]["message"]


async def test_no_more_sessions_than_there_is_room_for(start: Any) -> None:
    server = await start(limits=ServiceLimits(sessions=2))
    async with httpx.AsyncClient(base_url=server.url) as http:
        many = await asyncio.gather(*(http.post("/v1/sessions", json={}) for _ in range(5)))
        names = [response.json()["id"] for response in many if response.status_code == 201]
        refused = [response for response in many if response.status_code != 201]
        await http.delete(f"/v1/sessions/{names[0]}")
        after = await http.post("/v1/sessions", json={})

    assert len(names) == 2
    assert {response.json()["error"]["code"] for response in refused} == {"sessions_full"}
    assert all(response.headers["Retry-After"] == "1" for response in refused)
    assert after.status_code == 201


async def test_a_failed_opening_takes_no_room(start: Any, sandbox: Any) -> None:
    server = await start(limits=ServiceLimits(sessions=1))
    async with httpx.AsyncClient(base_url=server.url) as http:
        sandbox.broken = True
        failed = await http.post("/v1/sessions", json={})
        sandbox.broken = False
        after = await http.post("/v1/sessions", json={})

    assert (failed.status_code, after.status_code) == (503, 201)


async def test_steps_of_one_session_hold_one_slot_between_them(start: Any) -> None:
    server = await start(limits=ServiceLimits(slots=2))
    async with httpx.AsyncClient(base_url=server.url) as http:
        path = f"/v1/sessions/{await open_session(http)}/run"
        steps = [http.post(path, json={"code": f"print({i})"}) for i in range(10)]
        responses = await asyncio.gather(*steps)

    assert {response.status_code for response in responses} == {200}


async def test_too_many_steps_at_once_are_refused(start: Any, sandbox: Any) -> None:
    server = await start()
    async with httpx.AsyncClient(base_url=server.url) as http:
        name = await open_session(http)
        gate = asyncio.Event()

        async def wait(code: str, *, wall_seconds: float | None = None) -> None:
            await gate.wait()
            raise RuntimeError("never shown to anybody")

        sandbox.sessions[0].run = wait
        steps = [
            asyncio.create_task(http.post(f"/v1/sessions/{name}/run", json={"code": "1"}))
            for _ in range(16)
        ]
        while server.service.active < 16:
            await asyncio.sleep(0.01)
        extra = await http.post(f"/v1/sessions/{name}/run", json={"code": "1"})
        running = server.service.queue.running
        gate.set()
        statuses = {response.status_code for response in await asyncio.gather(*steps)}

    assert (extra.status_code, extra.json()["error"]["code"]) == (429, "session_busy")
    assert running == 1
    assert statuses == {500}


async def test_the_deadline_of_a_step_is_capped(start: Any) -> None:
    server = await start(limits=ServiceLimits(maxima=Limits(wall_seconds=2)))
    async with httpx.AsyncClient(base_url=server.url) as http:
        name = await open_session(http)
        path = f"/v1/sessions/{name}/run"
        capped = await http.post(path, json={"code": "1", "wall_seconds": 5})
        absurd = await http.post(path, json={"code": "1", "wall_seconds": -5})

    assert capped.json()["capped"] == ["wall_seconds"]
    assert absurd.status_code == 400


async def test_a_draining_server_lets_sessions_go_on_and_begins_nothing_new(start: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url, patience_seconds=0) as remote:
        session = await remote.open_session()
        await session.run("x = 20")
        draining = asyncio.create_task(server.drain(100))
        while not server.service.draining:
            await asyncio.sleep(0)
        steps = [await session.run("x + 1") for _ in range(3)]
        async with RemoteSandbox(server.url, patience_seconds=0) as other:
            for refused in (remote.run("1"), other.run("1"), other.open_session()):
                with pytest.raises(SandboxUnavailable):
                    await refused
        async with httpx.AsyncClient(base_url=server.url) as http:
            health = await http.get("/health")
            told = await http.post("/v1/run", json={"code": "1"})
        still = draining.done()
        await session.aclose()
        in_time = await draining

    assert [step.value for step in steps] == ["21"] * 3
    assert health.status_code == 503
    assert (told.status_code, told.json()["error"]["code"]) == (503, "draining")
    assert not still
    assert in_time


async def test_a_drain_does_not_wait_for_sessions_beyond_its_deadline(
    start: Any, sandbox: Any
) -> None:
    server = await start()
    async with RemoteSandbox(server.url, patience_seconds=0) as remote:
        session = await remote.open_session()
        in_time = await server.drain(0.3)
        with pytest.raises(SandboxUnavailable):
            await session.run("1")

    assert in_time, "all that was taken was answered"
    assert sandbox.sessions[0].closed


async def test_a_session_that_waits_to_be_opened_as_the_drain_begins_is_refused(
    start: Any, gate: Any
) -> None:
    server = await start(limits=ServiceLimits(slots=1))
    async with RemoteSandbox(server.url, patience_seconds=0) as remote:
        long = asyncio.create_task(remote.run(gate.code))
        while not server.service.queue.running:
            await asyncio.sleep(0.01)
        opening = asyncio.create_task(remote.open_session())
        while not server.service.queue.queued:
            await asyncio.sleep(0.01)
        draining = asyncio.create_task(server.drain(100))
        while not server.service.draining:
            await asyncio.sleep(0)
        gate.open()
        with pytest.raises(SandboxUnavailable, match="the server is ending"):
            await opening
        result = await long
        in_time = await draining

    assert result.ok
    assert in_time


async def test_ending_the_server_ends_its_sessions(start: Any, sandbox: Any) -> None:
    server = await start()
    async with httpx.AsyncClient(base_url=server.url) as http:
        await open_session(http)
    await server.drain(1)

    assert sandbox.sessions[0].closed
