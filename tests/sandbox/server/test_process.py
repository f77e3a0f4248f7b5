"""The server as it is deployed: a process of its own, the real sandbox, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from qwq_env.errors import UsageError
from qwq_env.sandbox import Limits, SandboxUnavailable
from qwq_env.sandbox.client import RemoteSandbox

from ..kernel import kernel

LAUNCH = "import sys; from qwq_env.cli import main; sys.exit(main())"
SLEEP = "import time\ntime.sleep(60)"


@pytest.fixture(scope="module", autouse=True)
def _isolation() -> None:
    """Skip where this kernel can isolate nothing."""
    if kernel().level == "D":
        pytest.skip("this kernel has neither namespaces nor Landlock")


class Served:
    """A server process on a port that stays the same when it is started again."""

    def __init__(self, *options: str, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = options
        self._environment = environment

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LAUNCH, "sandbox", "serve"),
            *("--port", str(self.port), *self._options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self._environment},
        )
        assert self.process.stdout is not None
        self.greeting = (await asyncio.wait_for(self.process.stdout.readline(), 180)).decode()
        assert self.greeting.startswith(f"serving on {self.url}")

    async def end(self, number: int | None) -> int:
        if number is not None and self.process.returncode is None:
            self.process.send_signal(number)
        await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    server = Served("--slots", "2", "--drain", "20")
    await server.start()
    children = set(descendants(server.process.pid))
    assert children
    yield server
    await server.end(signal.SIGKILL)
    await until(lambda: not any(map(alive, children)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting() -> AsyncIterator[Served]:
    """A server that outlives what the tests do to it."""
    async with serving() as server:
        yield server


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server that a test may end."""
    async with serving() as server:
        yield server


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def descendants(pid: int) -> Iterator[int]:
    for child in children_of(pid):
        yield child
        yield from descendants(child)


def at_rest(served: Served) -> bool:
    """Whether each of the two slots, below the one fork server, has the one child that waits.

    A slot forks it when the program before has been answered, so a moment later.
    """
    slots = children_of(served.process.pid)
    while len(slots) == 1:
        slots = children_of(slots[0])
    return [len(list(descendants(slot))) for slot in slots] == [1, 1]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Any) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


async def no_longer_listening(served: Served) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            except ConnectionError:
                return
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await asyncio.sleep(0.02)


async def metric(served: Served, name: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    found = re.search(rf"^qwq_sandbox_{name} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.asyncio(loop_scope="module")
async def test_the_contract_holds_over_the_wire(lasting: Served) -> None:
    code = "import sys\nprint(sys.stdin.read(), sys.argv[1:])\n1 + 1"
    source = "class Solution:\n    def f(self, x): return (x, {1: x})"
    async with RemoteSandbox(lasting.url) as sandbox:
        result = await sandbox.run(code, stdin=b"in", argv=("a",))
        slow = await sandbox.run("while True: pass", limits=Limits(wall_seconds=0.3))
        fat = await sandbox.run("x = bytearray(10**9)", limits=Limits(memory_mb=64))
        calls = await sandbox.call(source, "Solution.f", [[(1,)], [{2}]])
        async with await sandbox.open_session() as session:
            await session.run("x = 20")
            step = await session.run("x + 1")

    assert (result.status, result.stdout, result.value) == ("ok", "in ['a']\n", "2")
    assert (slow.status, fat.status) == ("timeout", "memory")
    assert [call.value for call in calls] == [((1,), {1: (1,)}), ({2}, {1: {2}})]
    assert step.value == "21"


@pytest.mark.asyncio(loop_scope="module")
async def test_programs_from_many_callers_all_end_right(lasting: Served) -> None:
    async with RemoteSandbox(lasting.url) as sandbox:
        results = await asyncio.gather(*(sandbox.run(f"print({i})") for i in range(200)))

    assert [result.stdout for result in results] == [f"{i}\n" for i in range(200)]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_cancelled_program_leaves_nothing_running(lasting: Served) -> None:
    async with RemoteSandbox(lasting.url) as sandbox:
        runs = [asyncio.create_task(sandbox.run(SLEEP)) for _ in range(4)]
        while await metric(lasting, "running") < 2:
            await asyncio.sleep(0.02)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        while await metric(lasting, "running"):
            await asyncio.sleep(0.02)
        after = await sandbox.run("print(1)")

    assert after.ok
    assert await metric(lasting, "queued") == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_lost_session_step_is_cancelled_too(lasting: Served) -> None:
    async with RemoteSandbox(lasting.url) as sandbox:
        session = await sandbox.open_session()
        step = asyncio.create_task(session.run(SLEEP))
        while not await metric(lasting, "running"):
            await asyncio.sleep(0.02)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        after = await session.run("1 + 1")
        await session.aclose()

    assert after.value == "2"
    assert await metric(lasting, "sessions") == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_rude_clients_leave_no_descriptor_and_no_process(lasting: Served) -> None:
    dice = random.Random(7)

    def descriptors() -> int:
        return len(list(Path(f"/proc/{lasting.process.pid}/fd").iterdir()))

    async def rude() -> None:
        body = b'{"code": "import time; time.sleep(5)"}'
        head = f"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        request = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
        _, writer = await asyncio.open_connection("127.0.0.1", lasting.port)
        writer.write(request[: dice.choice((0, 10, len(request) - 5, len(request)))])
        await asyncio.sleep(dice.uniform(0, 0.2))
        if dice.random() < 0.5:
            writer.write_eof()
            await asyncio.sleep(dice.uniform(0, 0.1))
        writer.transport.abort() if dice.random() < 0.5 else writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with RemoteSandbox(lasting.url) as sandbox:
        await sandbox.run("print(1)")
        await until(lambda: at_rest(lasting))
        before = descriptors()
        for _ in range(5):
            await asyncio.gather(*(rude() for _ in range(40)))
        result = await sandbox.run("print(1)")
        await until(lambda: descriptors() <= before and at_rest(lasting))

    assert result.stdout == "1\n"
    assert await metric(lasting, "running") == 0
    assert await metric(lasting, "queued") == 0


async def test_sigterm_lets_programs_end_and_takes_no_more(served: Served) -> None:
    async with RemoteSandbox(served.url, patience_seconds=0.2) as sandbox:
        long = asyncio.create_task(sandbox.run("import time\ntime.sleep(2)\nprint('done')"))
        while not await metric(served, "running"):
            await asyncio.sleep(0.02)
        served.process.terminate()
        await no_longer_listening(served)
        with pytest.raises(SandboxUnavailable):
            await sandbox.run("print(1)")
        result = await long

    assert result.stdout == "done\n"
    assert await served.end(None) == 0


async def test_a_second_signal_does_not_wait(served: Served) -> None:
    async with RemoteSandbox(served.url, patience_seconds=0) as sandbox:
        long = asyncio.create_task(sandbox.run(SLEEP))
        while not await metric(served, "running"):
            await asyncio.sleep(0.02)
        began = time.monotonic()
        served.process.terminate()
        await asyncio.sleep(0.3)
        code = await served.end(signal.SIGINT)
        seconds = time.monotonic() - began
        with pytest.raises(SandboxUnavailable):
            await long

    assert code == 1
    assert seconds < 20, "the drain alone would have taken 20 s"


async def test_kill_9_under_load_loses_no_program_and_hangs_nobody(served: Served) -> None:
    children = set(descendants(served.process.pid))
    ended: list[str] = []

    async def caller(sandbox: RemoteSandbox, number: int) -> None:
        for step in range(10):
            result = await sandbox.run(f"print({number * 100 + step})")
            assert result.stdout == f"{number * 100 + step}\n"
            ended.append(result.status)

    async with RemoteSandbox(served.url, patience_seconds=180) as sandbox:
        session = await sandbox.open_session()
        load = [asyncio.create_task(caller(sandbox, number)) for number in range(32)]
        await until(lambda: len(ended) > 60)
        await served.end(signal.SIGKILL)
        before = len(ended)
        with pytest.raises(SandboxUnavailable):
            await session.run("1")
        await until(lambda: not any(map(alive, children)))
        await served.start()
        async with asyncio.timeout(180):
            await asyncio.gather(*load)
        await session.aclose()

    assert before < 320
    assert ended == ["ok"] * 320


async def test_a_server_that_stays_dead_is_infra_for_everybody(served: Served) -> None:
    async with RemoteSandbox(served.url, patience_seconds=0.5) as sandbox:
        runs = [asyncio.create_task(sandbox.run(SLEEP)) for _ in range(8)]
        while not await metric(served, "running"):
            await asyncio.sleep(0.02)
        await served.end(signal.SIGKILL)
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*runs, return_exceptions=True)

    assert all(isinstance(outcome, SandboxUnavailable) for outcome in outcomes)


async def test_the_token_of_the_file_is_asked_for_and_is_out_of_reach(tmp_path: Path) -> None:
    token = "only-for-those-who-know"
    file = tmp_path / "token"
    file.write_text(token + "\n")
    server = Served(
        "--slots", "1", "--token-file", str(file), QWQ_SANDBOX_TOKEN="not-this-one-at-all"
    )
    await server.start()
    look = f"import os, pathlib\nprint(os.environ, pathlib.Path({str(file)!r}).read_text())"
    try:
        async with RemoteSandbox(server.url, token=token) as sandbox:
            result = await sandbox.run(look)
        async with RemoteSandbox(server.url, token="not-this-one-at-all") as stranger:
            with pytest.raises(UsageError, match="token"):
                await stranger.run("1")
    finally:
        await server.end(signal.SIGTERM)

    assert result.status == "error"
    assert token not in result.stdout + result.stderr + server.greeting
    assert "not-this-one" not in result.stdout
