"""The client: the contract of a sandbox over HTTP, and what it does when servers fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import ExecutionResult, Limits, SandboxBusy, SandboxUnavailable, SessionClosed
from qwq_env.sandbox.client import RemoteSandbox
from qwq_env.sandbox.server.service import ServiceLimits

TOKEN = "a-long-enough-token"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def full_line() -> Iterator[str]:
    """The address of a server that accepts nobody, and whose line is full: it never answers."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def test_a_program_runs_far_away_as_it_would_here(start: Any) -> None:
    server = await start()
    code = "import sys; print(sys.stdin.buffer.read(), sys.argv[1:]); sys.exit(3)"
    async with RemoteSandbox(server.url) as sandbox:
        result = await sandbox.run(code, stdin=b"\xff\n", argv=("é",))
        as_bytes = await sandbox.run(b"print('\xc3\xa9')")

    assert (result.status, result.exit_code) == ("error", 3)
    assert result.stdout == "b'\\xff\\n' ['é']\n"
    assert as_bytes.stdout == "é\n"


async def test_calls_bring_back_exact_types(start: Any) -> None:
    server = await start()
    value = (1, {2: [b"x"]}, frozenset({None}), 10**5000, float("inf"))
    async with RemoteSandbox(server.url) as sandbox:
        (result,) = await sandbox.call("def f(x): return x", "f", [[value]])

    assert result.ok
    assert result.value == value
    assert type(result.value) is tuple


async def test_a_session_keeps_its_names_until_it_is_closed(start: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as sandbox:
        async with await sandbox.open_session() as session:
            await session.run("x = 1")
            step = await session.run("x + 1", wall_seconds=3)
        with pytest.raises(SessionClosed):
            await session.run("x")
        await session.aclose()

    assert step.value == "2"
    assert len(server.service.sessions) == 0


@pytest.mark.parametrize("code", [5, None, b"\xff", "'\ud800'", "", b"\n"])
async def test_bad_code_is_the_callers_error(start: Any, code: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as sandbox:
        with pytest.raises(UsageError, match="code"):
            await sandbox.run(code)
        with pytest.raises(UsageError, match="code"):
            await sandbox.call(code, "f", [[1]])
        async with await sandbox.open_session() as session:
            with pytest.raises(UsageError, match="code"):
                await session.run(code)


def test_it_stands_beside_the_local_one_and_costs_nothing_until_asked_for() -> None:
    program = """
import sys
import qwq_env.sandbox as sandbox
before = "qwq_env.sandbox.client" in sys.modules
print(before, sandbox.RemoteSandbox.__name__, "RemoteSandbox" in sandbox.__all__)
print([name for name in ("httpx", "aiohttp") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("False RemoteSandbox True\n[]\n", "")


async def test_a_program_too_large_for_the_server(start: Any) -> None:
    server = await start(limits=ServiceLimits(max_body=1_000_000))
    async with RemoteSandbox(server.url) as sandbox:
        with pytest.raises(UsageError, match="larger than"):
            await sandbox.run("#" * 2_000_000)


async def test_ten_megabytes_are_no_program(start: Any, sandbox: Any) -> None:
    server = await start(limits=ServiceLimits(max_body=64 << 20))
    async with RemoteSandbox(server.url) as remote, httpx.AsyncClient(base_url=server.url) as http:
        for use in (remote.run, (await remote.open_session()).run):
            with pytest.raises(UsageError, match=r"^code: 10000000 bytes, expected at most"):
                await use("#" * 10_000_000)
        answer = await http.post("/v1/run", json={"code": "#" * 10_000_000})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("code: 10000000 bytes, expected at most")
    assert not sandbox.pids


@pytest.mark.parametrize("limits", [None, {"wall_seconds": 1}, 5])
async def test_limits_are_limits(start: Any, limits: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as sandbox:
        for use in (
            sandbox.run("1", limits=limits),
            sandbox.call("def f(): pass", "f", [[]], limits=limits),
            sandbox.open_session(limits=limits),
        ):
            with pytest.raises(UsageError, match=r"^limits: "):
                await use


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (5, [[]], "function"),
        ("f()", [[]], "function"),
        ("f", 5, "arguments"),
        ("f", "ab", "arguments"),
        ("f", [5], r"arguments\[0\]"),
        ("f", [[1], "ab"], r"arguments\[1\]"),
        ("f", [[1], [object()]], r"arguments\[1\]"),
    ],
)
async def test_bad_calls_are_the_callers_error(
    start: Any, function: Any, arguments: Any, named: str
) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as sandbox:
        with pytest.raises(UsageError, match=f"^{named}: "):
            await sandbox.call("def f(*x): return x", function, arguments)


@pytest.mark.parametrize("wall", ["5", -5, 0, float("nan"), True])
async def test_a_deadline_of_a_step_that_is_none(start: Any, wall: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as sandbox, await sandbox.open_session() as session:
        with pytest.raises(UsageError, match=r"^limits\.wall_seconds: "):
            await session.run("1", wall_seconds=wall)


async def test_the_token_comes_from_the_environment_and_goes_nowhere(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(token=TOKEN)
    monkeypatch.setenv("QWQ_SANDBOX_TOKEN", TOKEN)
    with caplog.at_level("DEBUG"):
        async with RemoteSandbox(server.url, nobody(), patience_seconds=1) as sandbox:
            result = await sandbox.run("print(1)")
            shown = f"{sandbox!r} {vars(sandbox)!r}"
        async with RemoteSandbox(server.url, token="b" + TOKEN) as stranger:
            with pytest.raises(UsageError, match="token") as refused:
                await stranger.run("print(1)")

    assert result.ok
    assert TOKEN not in shown + caplog.text + str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "localhost:80", "ftp://a", "http://", "http://user:pass@host", 5]
)
def test_an_address_that_is_none(url: Any) -> None:
    with pytest.raises(UsageError, match="url"):
        RemoteSandbox(url)


@pytest.mark.parametrize("token", [f"{TOKEN}\n", "a b" * 10, "é" * 20, 5])
def test_a_token_that_cannot_stand_in_a_header_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(UsageError, match=r"^token: ") as refused:
        RemoteSandbox(nobody(), token=token)

    assert str(token) not in str(refused.value)


async def test_an_empty_token_is_none(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await start()
    monkeypatch.setenv("QWQ_SANDBOX_TOKEN", "")
    for token in (None, ""):
        async with RemoteSandbox(server.url, token=token) as sandbox:
            assert (await sandbox.run("1")).ok


async def test_a_closed_sandbox_refuses(start: Any) -> None:
    sandbox = RemoteSandbox((await start()).url)
    await sandbox.aclose()
    await sandbox.aclose()

    with pytest.raises(SessionClosed):
        await sandbox.run("1")


async def test_a_lowered_limit_must_not_judge_a_program(start: Any) -> None:
    server = await start(limits=ServiceLimits(maxima=Limits(wall_seconds=4)))
    async with RemoteSandbox(server.url) as sandbox:
        fine = await sandbox.run("print(1)", limits=Limits(wall_seconds=50))
        with pytest.raises(UsageError, match="wall_seconds"):
            await sandbox.run("import time; time.sleep(60)", limits=Limits(wall_seconds=50))
        with pytest.raises(UsageError, match="wall_seconds"):
            await sandbox.open_session(limits=Limits(wall_seconds=50))

    assert fine.ok
    assert len(server.service.sessions) == 0


async def test_a_lowered_cap_on_output_matters_where_output_was_cut(
    start: Any, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start(limits=ServiceLimits(maxima=Limits(output_bytes=4)))

    async def cut(*_: Any) -> ExecutionResult:
        return ExecutionResult("ok", stdout="1234", truncated=("stdout",))

    async with RemoteSandbox(server.url) as remote:
        limits = Limits(output_bytes=100)
        failed = await remote.run("raise SystemExit(3)", limits=limits)
        monkeypatch.setattr(sandbox, "_process", cut)
        with pytest.raises(UsageError, match="output_bytes"):
            await remote.run("print(12345)", limits=limits)

    assert failed.exit_code == 3


async def test_a_full_server_is_asked_again_until_it_has_room(
    start: Any, sandbox: Any, gate: Any
) -> None:
    server = await start(limits=ServiceLimits(slots=1, queue=1))
    async with RemoteSandbox(server.url) as remote:
        runs = [asyncio.create_task(remote.run(gate.code)) for _ in range(8)]
        while 'status="429"' not in server.service.metrics.render({}):
            await asyncio.sleep(0.01)
        gate.open()
        results = await asyncio.gather(*runs)

    assert all(result.ok for result in results)
    assert sandbox.most_running == 1
    assert 'status="429"' in server.service.metrics.render({})


async def test_a_server_with_no_connection_left_is_full(start: Any) -> None:
    server = await start(limits=ServiceLimits(connections=1))
    port = int(server.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    while not server.service.connections:
        await asyncio.sleep(0.01)
    async with RemoteSandbox(server.url, patience_seconds=0) as remote:
        with pytest.raises(SandboxBusy, match="connections"):
            await remote.run("1")
    async with RemoteSandbox(server.url, patience_seconds=60) as remote:
        waiting = asyncio.create_task(remote.run("print(1)"))
        while 'status="503"} 2' not in server.service.metrics.render({}):
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        result = await waiting

    assert result.ok


async def test_patience_with_a_full_server_ends(start: Any) -> None:
    server = await start(limits=ServiceLimits(slots=1, queue=0))
    async with RemoteSandbox(server.url, patience_seconds=0) as remote:
        long = asyncio.create_task(remote.run("import time; time.sleep(30)"))
        while not server.service.queue.running:
            await asyncio.sleep(0.01)
        with pytest.raises(SandboxBusy) as busy:
            await remote.run("1")
        long.cancel()

    assert busy.value.retry_after >= 1


async def test_a_caller_that_is_cancelled_frees_the_slot(start: Any, sandbox: Any) -> None:
    server = await start()
    async with RemoteSandbox(server.url) as remote:
        run = asyncio.create_task(remote.run("import time; time.sleep(60)"))
        while not sandbox.running:
            await asyncio.sleep(0.01)
        run.cancel()
        while sandbox.running:
            await asyncio.sleep(0.01)

    assert server.service.queue.running == 0


async def test_no_more_in_flight_than_asked(start: Any, sandbox: Any) -> None:
    server = await start(limits=ServiceLimits(slots=50))
    async with RemoteSandbox(server.url, concurrency=3) as remote:
        await asyncio.gather(*(remote.run("1") for _ in range(12)))

    assert sandbox.most_running <= 3


async def test_a_broken_sandbox_is_unavailable_after_a_few_tries(start: Any, sandbox: Any) -> None:
    server = await start()
    sandbox.broken = True
    async with RemoteSandbox(server.url, patience_seconds=20) as remote:
        with pytest.raises(SandboxUnavailable):
            await remote.run("1")
        sandbox.broken = False
        after = await remote.run("print(1)")

    assert after.ok
    assert 'route="run",status="503"} 3' in server.service.metrics.render({})


async def test_nobody_there(start: Any) -> None:
    async with RemoteSandbox(nobody(), patience_seconds=0.5) as remote:
        with pytest.raises(SandboxUnavailable, match="cannot be reached"):
            await remote.run("1")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n" + b'{"result": {"status": 5}}',
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"what is this",
        b"",
    ],
)
async def test_an_answer_that_makes_no_sense_is_never_a_result(answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        except asyncio.IncompleteReadError:
            pass  # a probe that was given up
        finally:
            writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with RemoteSandbox(f"http://127.0.0.1:{port}", patience_seconds=0.3) as remote:
        with pytest.raises(SandboxUnavailable):
            await remote.run("1")
    # What was accepted a moment ago has its handler in a few turns of the loop, not before.
    for _ in range(4):
        await asyncio.sleep(0)
    server.close()


async def test_a_server_that_begins_anew_is_found_again_by_programs(start: Any) -> None:
    first = await start()
    port = int(first.url.rpartition(":")[2])
    async with RemoteSandbox(first.url, patience_seconds=20) as remote:
        await remote.run("1")
        await first.drain(0)
        waiting = asyncio.create_task(remote.run("print(2)"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await start(port=port)
        result = await waiting

    assert result.stdout == "2\n"


async def test_a_server_that_begins_anew_has_lost_its_sessions(start: Any) -> None:
    first = await start()
    port = int(first.url.rpartition(":")[2])
    async with RemoteSandbox(first.url, patience_seconds=20) as remote:
        session = await remote.open_session()
        await first.drain(0)
        with pytest.raises(SandboxUnavailable):
            await session.run("1")
        await start(port=port)
        with pytest.raises(SandboxUnavailable, match="no session"):
            await session.run("1")
        await session.aclose()


async def served_by(servers: list[Any]) -> Counter[str]:
    """How many programs each server has run, by its own count."""
    counts: Counter[str] = Counter()
    for server in servers:
        async with httpx.AsyncClient(base_url=server.url) as http:
            for line in (await http.get("/metrics")).text.splitlines():
                if line.startswith('qwq_sandbox_executions_total{result="ok"}'):
                    counts[server.url] = int(line.split()[1])
    return counts


async def test_programs_spread_over_the_servers(start: Any) -> None:
    servers = [await start(), await start()]
    async with RemoteSandbox(*(server.url for server in servers)) as remote:
        results = await asyncio.gather(*(remote.run("1") for _ in range(20)))
    counts = await served_by(servers)

    assert all(result.ok for result in results)
    assert sum(counts.values()) == 20
    assert min(counts.values()) >= 5


async def test_a_session_stays_where_it_was_opened(start: Any) -> None:
    servers = [await start(), await start()]
    async with RemoteSandbox(*(server.url for server in servers)) as remote:
        sessions = [await remote.open_session() for _ in range(4)]
        for number, session in enumerate(sessions):
            await session.run(f"x = {number}")
        values = [(await session.run("x")).value for session in sessions]
        for session in sessions:
            await session.aclose()

    assert values == ["0", "1", "2", "3"]


async def test_a_dead_server_is_left_aside_and_taken_back(start: Any) -> None:
    alive, port = await start(), free_port()
    async with RemoteSandbox(alive.url, f"http://127.0.0.1:{port}", patience_seconds=20) as remote:
        results = await asyncio.gather(*(remote.run("1") for _ in range(20)))
        revived = await start(port=port)
        async with asyncio.timeout(20):
            while not await served_by([revived]):
                await asyncio.gather(*(remote.run("1") for _ in range(4)))

    assert all(result.ok for result in results)


async def test_those_who_wait_for_a_server_that_turns_out_dead_go_to_another(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = await start(limits=ServiceLimits(slots=4))
    monkeypatch.setattr("qwq_env.sandbox.http_pool._CONNECT_S", 2)
    with full_line() as hole_url:
        async with RemoteSandbox(hole_url, well.url, concurrency=2, patience_seconds=1.5) as remote:
            results = await asyncio.gather(*(remote.run("1") for _ in range(30)))

    assert all(result.ok for result in results)


async def test_a_full_server_passes_its_work_on(start: Any) -> None:
    full = await start(limits=ServiceLimits(slots=1, queue=0))
    free = await start(limits=ServiceLimits(slots=2))
    code = "import time; time.sleep(0.2)"
    async with RemoteSandbox(full.url, free.url, patience_seconds=20) as remote:
        results = await asyncio.gather(*(remote.run(code) for _ in range(8)))
    counts = await served_by([full, free])

    assert all(result.ok for result in results)
    assert counts[free.url] > counts[full.url]
