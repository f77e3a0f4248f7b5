"""SandboxFusion's request form: what its users send, and what they read in the answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from qwq_env.sandbox import ExecutionResult
from qwq_env.sandbox.server.fusion import run_code_answer

# What a client of SandboxFusion sends with every request, needed or not.
FULL = {
    "compile_timeout": 10,
    "run_timeout": 10,
    "memory_limit_MB": 1024,
    "stdin": None,
    "language": "python",
    "files": {},
    "fetch_files": [],
}


async def run_code(http: httpx.AsyncClient, **fields: Any) -> Any:
    return await http.post("/run_code", json={**FULL, **fields})


async def test_a_program_that_ends_well(http: httpx.AsyncClient) -> None:
    answer = (await run_code(http, code="print(input())", stdin="hello")).json()
    seconds = answer["run_result"].pop("execution_time")

    assert seconds > 0
    assert answer == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "run_result": {
            "status": "Finished",
            "return_code": 0,
            "stdout": "hello\n",
            "stderr": "",
        },
        "executor_pod_name": None,
        "files": {},
    }


async def test_a_program_that_fails(http: httpx.AsyncClient) -> None:
    answer = (await run_code(http, code="raise SystemExit(3)")).json()

    assert answer["status"] == "Failed"
    assert answer["run_result"]["status"] == "Finished"
    assert answer["run_result"]["return_code"] == 3


async def test_a_program_that_is_too_slow(http: httpx.AsyncClient) -> None:
    answer = (await run_code(http, code="while True: pass", run_timeout=0.3)).json()

    assert answer["status"] == "Failed"
    assert answer["run_result"]["status"] == "TimeLimitExceeded"
    assert answer["run_result"]["return_code"] is None


async def test_a_sandbox_that_fails_is_no_failed_program(
    http: httpx.AsyncClient, sandbox: Any
) -> None:
    sandbox.broken = True

    answer = (await run_code(http, code="print(1)")).json()

    assert answer["status"] == "SandboxError"
    assert answer["run_result"] is None
    assert answer["message"]


@pytest.mark.parametrize("memory", [-1, 512])
async def test_memory_is_a_wish(http: httpx.AsyncClient, sandbox: Any, memory: int) -> None:
    await run_code(http, code="1", memory_limit_MB=memory, run_timeout=3)

    assert sandbox.limits_seen[0].memory_mb == (256 if memory == -1 else memory)
    assert sandbox.limits_seen[0].wall_seconds == 3
    assert sandbox.limits_seen[0].cpu_seconds == 3


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"language": "cpp"}, "language: 'cpp'"),
        ({"language": ["python"]}, "language"),
        ({"files": {"a.txt": "eA=="}}, "files"),
        ({"fetch_files": ["a.txt"]}, "fetch_files"),
        ({"args": ["-k"]}, "args"),
        ({"code": 5}, "code"),
        ({"code": " "}, "code: is empty"),
        ({"stdin": 5}, "stdin"),
        ({"run_timeout": -1}, "run_timeout"),
        ({"run_timeout": "x"}, "run_timeout"),
        ({"memory_limit_MB": 0}, "memory_limit_MB"),
        ({"memory_limit_MB": None}, "memory_limit_MB"),
    ],
)
async def test_what_is_not_supported_is_named(
    http: httpx.AsyncClient, fields: dict[str, Any], named: str
) -> None:
    response = await run_code(http, **{"code": "1", **fields})

    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


async def test_fields_that_nobody_knows_are_ignored(http: httpx.AsyncClient) -> None:
    response = await run_code(http, code="1", priority=5)

    assert response.json()["status"] == "Success"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (ExecutionResult("killed", signal=9), -9),
        (ExecutionResult("memory", exit_code=1), 1),
        (ExecutionResult("output"), 1),
    ],
)
def test_other_ends_are_failures_with_a_return_code(result: ExecutionResult, code: int) -> None:
    answer = run_code_answer(result)

    assert answer["status"] == "Failed"
    assert answer["run_result"]["return_code"] == code
