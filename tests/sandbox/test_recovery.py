"""`kill -9` of our own parts under load: callers get right answers or an error, and never wait."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from qwq_env.sandbox import Limits, LocalSandbox, SandboxUnavailable

LIMITS = Limits(cpu_seconds=5, wall_seconds=10)
CODE = "import time\ntime.sleep(0.02)\nprint({} * 3)"


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@pytest.fixture
async def sandbox():
    async with LocalSandbox(slots=3, preload=(), allow_unsafe=True) as started:
        await started.start()
        yield started


async def run_under(sandbox, disturb):
    """200 programs from 16 callers while `disturb` runs; every answer must be right."""
    numbers = iter(range(200))
    lost = []

    async def caller():
        for number in numbers:
            try:
                result = await sandbox.run(CODE.format(number), limits=LIMITS)
            except SandboxUnavailable:
                lost.append(number)
            else:
                assert result.stdout == f"{number * 3}\n", result

    async with asyncio.timeout(120):
        disturbance = asyncio.create_task(disturb())
        await asyncio.gather(*(caller() for _ in range(16)))
        disturbance.cancel()
    return lost


async def test_slots_are_killed(sandbox):
    async def disturb():
        for _ in range(15):
            await asyncio.sleep(0.1)
            for pid in sandbox.slot_pids[:1]:
                kill(pid)

    lost = await run_under(sandbox, disturb)

    assert len(lost) < 20
    assert (await sandbox.run("print(1)")).stdout == "1\n"


async def test_the_fork_server_is_killed(sandbox):
    async def disturb():
        for _ in range(3):
            await asyncio.sleep(0.3)
            kill(sandbox.server_pid)

    await run_under(sandbox, disturb)

    assert (await sandbox.run("print(1)")).stdout == "1\n"


async def test_a_stopped_slot_is_given_up(sandbox):
    running = asyncio.create_task(
        sandbox.run("while True: pass", limits=Limits(cpu_seconds=1, wall_seconds=1))
    )
    await asyncio.sleep(0.3)
    for pid in sandbox.slot_pids:
        os.kill(pid, signal.SIGSTOP)

    async with asyncio.timeout(60):
        assert (await running).status == "timeout"


async def test_slots_that_are_stopped_do_not_make_a_slow_solution_infrastructure(sandbox):
    code = "def f():\n    while True: pass"
    limits = Limits(cpu_seconds=2, wall_seconds=2)
    running = asyncio.create_task(sandbox.call(code, "f", [[]], limits=limits))
    await asyncio.sleep(0.3)
    for pid in sandbox.slot_pids:
        os.kill(pid, signal.SIGSTOP)

    async with asyncio.timeout(60):
        assert [result.status for result in await running] == ["timeout"]


async def test_a_session_whose_slot_is_killed_says_so(sandbox):
    session = await sandbox.open_session()
    await session.run("x = 1")
    step = asyncio.create_task(session.run("import time\ntime.sleep(5)"))
    await asyncio.sleep(0.2)
    kill(session.pid)

    with pytest.raises(SandboxUnavailable):
        await step
    after = await session.run("'x' in globals()")
    assert (after.value, after.state_lost) == ("False", True)


async def test_an_idle_session_whose_slot_is_killed_says_so(sandbox):
    session = await sandbox.open_session()
    await session.run("x = 1")
    slot = session.pid
    kill(slot)
    async with asyncio.timeout(60):
        while lives(slot):
            await asyncio.sleep(0.02)

    with pytest.raises(SandboxUnavailable):
        await session.run("x")
    assert (await session.run("1")).state_lost


async def test_nothing_outlives_a_host_that_is_killed():
    script = (
        "import asyncio, sys\n"
        "from qwq_env.sandbox import LocalSandbox\n"
        "async def main():\n"
        "    sandbox = LocalSandbox(slots=2, preload=(), allow_unsafe=True)\n"
        "    await sandbox.start()\n"
        "    session = await sandbox.open_session()\n"
        "    print(*sandbox.slot_pids, sandbox.server_pid, flush=True)\n"
        "    await session.run('while True: pass')\n"
        "asyncio.run(main())\n"
    )

    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    pids = [int(pid) for pid in (await host.stdout.readline()).split()]
    host.kill()
    await host.wait()
    async with asyncio.timeout(60):
        while any(lives(pid) for pid in pids):
            await asyncio.sleep(0.05)

    assert len(pids) == 4


def lives(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
