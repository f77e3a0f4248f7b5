"""What the server answers, one kind of request after another, good and bad."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from qwq_env.sandbox import Limits
from qwq_env.sandbox.server import service
from qwq_env.sandbox.server.service import ServiceLimits


def error_of(response: httpx.Response) -> tuple[int, str]:
    """The status and the error code; the form of the error is part of the contract."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"]
    return response.status_code, error["code"]


async def test_a_program_runs_with_its_input_and_arguments(http: httpx.AsyncClient) -> None:
    code = "import sys; print(sys.stdin.read(), sys.argv[1:])"

    response = await http.post("/v1/run", json={"code": code, "stdin": "é", "argv": ["a"]})

    assert response.status_code == 200
    assert response.json()["capped"] == []
    assert response.json()["result"]["status"] == "ok"
    assert response.json()["result"]["stdout"] == "é ['a']\n"


async def test_input_that_is_not_text_arrives_byte_for_byte(http: httpx.AsyncClient) -> None:
    code = "import sys; print(list(sys.stdin.buffer.read()))"
    stdin = {"$bytes": base64.b64encode(b"\xff\x00").decode()}

    response = await http.post("/v1/run", json={"code": code, "stdin": stdin})

    assert response.json()["result"]["stdout"] == "[255, 0]\n"


async def test_limits_are_lowered_to_the_maxima_and_the_answer_says_so(
    start: Any, sandbox: Any
) -> None:
    server = await start(limits=ServiceLimits(maxima=Limits(wall_seconds=2, memory_mb=64)))
    async with httpx.AsyncClient(base_url=server.url) as http:
        limits = {"wall_seconds": 1, "memory_mb": 1024}
        response = await http.post("/v1/run", json={"code": "1", "limits": limits})

    assert response.json()["capped"] == ["memory_mb"]
    assert sandbox.limits_seen[0].memory_mb == 64
    assert sandbox.limits_seen[0].wall_seconds == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"code": 5},
        {"code": None},
        {"code": ["print(1)"]},
        {"code": ""},
        {"code": "print('\ud800')"},
        {"code": "1", "stdin": 5},
        {"code": "1", "stdin": "\udfff"},
        {"code": "1", "stdin": {"$set": []}},
        {"code": "1", "argv": "a"},
        {"code": "1", "argv": [1]},
        {"code": "1", "language": "python"},
        {"code": "1", "limits": []},
        {"code": "1", "limits": {"wall_seconds": -1}},
        {"code": "1", "limits": {"wall_seconds": "5"}},
        {"code": "1", "limits": {"wall_seconds": 1e300}},
        {"code": "1", "limits": {"wall_seconds": float("nan")}},
        {"code": "1", "limits": {"memory_mb": 10**30}},
        {"code": "1", "limits": {"memory_mb": 10**400}},
        {"code": "1", "limits": {"wall_seconds": 10**400}},
        {"code": "1", "limits": {"memory_mb": True}},
        {"code": "1", "limits": {"gpus": 1}},
    ],
)
async def test_a_bad_program_or_limit_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    response = await http.post(
        "/v1/run", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )

    assert error_of(response) == (400, "bad_request")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"code"',
        b'{"code": "\xff"}',
        b"[" * 50_000,
        b'{"code": "1", "limits": {"memory_mb": ' + b"9" * 5000 + b"}}",
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    http: httpx.AsyncClient, content: bytes
) -> None:
    headers = {"Content-Type": "application/json"}

    response = await http.post("/v1/run", content=content, headers=headers)

    assert error_of(response) == (400, "bad_request")


async def test_a_web_page_cannot_send_a_program(http: httpx.AsyncClient) -> None:
    text = {"Content-Type": "text/plain"}
    plain = await http.post("/v1/run", content=b'{"code": "1"}', headers=text)
    rebound = await http.post("/v1/run", json={"code": "1"}, headers={"Host": "evil.example:80"})

    assert error_of(plain) == (415, "content_type")
    assert error_of(rebound) == (403, "host")


async def test_a_body_beyond_the_cap_is_refused_by_its_head_or_by_its_bytes(
    http: httpx.AsyncClient,
) -> None:
    async def endless() -> Any:
        for _ in range(200):
            yield b"x" * 10_000

    headers = {"Content-Type": "application/json"}
    announced = await http.post("/v1/run", json={"code": "#" * 10_000_000})
    counted = await http.post("/v1/run", content=endless(), headers=headers)
    after = await http.post("/v1/run", json={"code": "1"})

    assert error_of(announced) == (413, "too_large")
    assert error_of(counted) == (413, "too_large")
    assert after.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "not_found")),
        ("POST", "/v1/run/", (404, "not_found")),
        ("POST", "/v1/sessions/", (404, "not_found")),
        ("GET", "/v1/sessions/x/y", (404, "not_found")),
        ("GET", "/v1/run", (405, "method")),
        ("POST", "/metrics", (405, "method")),
    ],
)
async def test_wrong_routes_and_methods_say_so(
    http: httpx.AsyncClient, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert error_of(await http.request(method, path)) == expected


async def test_a_head_request_gets_no_body(http: httpx.AsyncClient) -> None:
    response = await http.head("/health")

    assert (response.status_code, response.content) == (405, b"")


TOKEN = "a-long-enough-token"


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "é"]
)
async def test_only_the_token_opens(start: Any, given: str) -> None:
    server = await start(token=TOKEN)
    async with httpx.AsyncClient(base_url=server.url) as http:
        right, wrong = [
            await http.post("/v1/run", json={"code": "1"}, headers={"Authorization": word.encode()})
            for word in (f"Bearer {TOKEN}", given)
        ]

    assert right.status_code == 200
    assert error_of(wrong) == (401, "token")


ROUTES = [
    *((route.method, path) for path, route in service._ROUTES.items()),
    ("POST", "/v1/sessions/{id}/run"),
    ("DELETE", "/v1/sessions/{id}"),
]


async def test_every_route_is_among_those_tried(start: Any) -> None:
    server = await start()

    assert {service.find_route(path).name for _, path in ROUTES} == set(server.service._handlers)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_the_token_guards_every_route_but_health(
    start: Any, sandbox: Any, method: str, path: str
) -> None:
    server = await start(token=TOKEN)
    async with httpx.AsyncClient(base_url=server.url) as http:
        right = {"Authorization": f"Bearer {TOKEN}"}
        opened = await http.post("/v1/sessions", json={}, headers=right)
        path = path.replace("{id}", opened.json()["id"])
        body = {"code": "1"} if method == "POST" else None
        answer = await http.request(method, path, json=body)

    if path == "/health":
        assert answer.json() == {"status": "ok"}
    else:
        assert error_of(answer) == (401, "token")
    assert len(server.service.sessions) == 1
    assert not sandbox.limits_seen


async def test_a_broken_sandbox_is_infra_and_never_a_result(
    http: httpx.AsyncClient, sandbox: Any
) -> None:
    sandbox.broken = True
    response = await http.post("/v1/run", json={"code": "1"})
    sandbox.broken = False
    after = await http.post("/v1/run", json={"code": "1"})

    assert error_of(response) == (503, "infra")
    assert response.headers["Retry-After"] == "1"
    assert after.status_code == 200


async def test_a_bug_is_answered_and_does_not_end_the_server(
    http: httpx.AsyncClient, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_process", None)
    response = await http.post("/v1/run", json={"code": "secret = 1"})
    monkeypatch.undo()
    after = await http.post("/v1/run", json={"code": "1"})

    assert error_of(response) == (500, "internal")
    assert "secret" not in response.text
    assert after.status_code == 200


async def test_calls_carry_plain_data_exactly(http: httpx.AsyncClient) -> None:
    code = "def f(x):\n    return (x, {1: b'x'}, {2})"

    response = await http.post(
        "/v1/call", json={"code": code, "function": "f", "arguments": [[{"$tuple": [1]}]]}
    )

    assert response.json()["results"][0]["value"] == {
        "$tuple": [{"$tuple": [1]}, {"$dict": [[1, {"$bytes": "eA=="}]]}, {"$set": [2]}]
    }


@pytest.mark.parametrize("arguments", [None, 5, [1], {"a": 1}, [[{"$no": 1}]], [[]] * 10_001])
async def test_bad_arguments_are_refused(http: httpx.AsyncClient, arguments: Any) -> None:
    body = {"code": "def f(): pass", "function": "f", "arguments": arguments}

    assert error_of(await http.post("/v1/call", json=body)) == (400, "bad_request")


async def test_metrics_count_what_happened(http: httpx.AsyncClient) -> None:
    await http.post("/v1/run", json={"code": "1"})
    await http.post("/v1/run", json={"code": 1})
    await http.get("/nowhere/" + "x" * 50)
    text = (await http.get("/metrics")).text

    assert 'qwq_sandbox_requests_total{route="run",status="200"} 1\n' in text
    assert 'qwq_sandbox_requests_total{route="run",status="400"} 1\n' in text
    assert 'qwq_sandbox_requests_total{route="none",status="404"} 1\n' in text
    assert 'qwq_sandbox_executions_total{result="ok"} 1\n' in text
    assert 'qwq_sandbox_request_seconds_bucket{route="run",le="+Inf"} 2\n' in text
    assert "qwq_sandbox_slots 2\n" in text
    assert "nowhere" not in text
