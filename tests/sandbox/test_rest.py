"""Between its steps a session is at rest: what it left running is stopped until the next."""

import asyncio
from pathlib import Path

import pytest

from qwq_env.sandbox import LocalSandbox
from qwq_env.sandbox.levels import plans

from .kernel import require

PLANS = [plan for plan in plans() if plan.level != "D"]

THREAD = """
import threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
"""

CHILDREN = """
import os
for _ in range(3):
    if os.fork() == 0:
        while True: pass
"""

WAKERS = """
import os, signal
for _ in range(3):
    if os.fork() == 0:
        while True:
            try: os.kill(-1, signal.SIGCONT)
            except OSError: pass
"""

# Timers that go off one after the other: the signal that wakes it comes from the kernel.
ALARMS = (
    """
import ctypes, signal, struct
libc = ctypes.CDLL(None)
for number in range(200):
    timer = ctypes.c_void_p()
    event = ctypes.create_string_buffer(struct.pack("Qii", 0, signal.SIGCONT, 0), 64)
    assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
    once = struct.pack("4q", 0, 0, 0, 200_000_000 + 15_000_000 * number)
    libc.timer_settime(timer, 0, ctypes.create_string_buffer(once, 32), None)
"""
    + THREAD
)


def cpu_seconds(slot):
    """What those in a pid namespace, or below a slot, have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            space = (stat.parent / "ns" / "pid").readlink()
        except OSError:
            continue
        if str(space) == slot or fields[1] == slot:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        *((plan, THREAD) for plan in PLANS),
        *((PLANS[0], code) for code in (CHILDREN, WAKERS)),
    ],
)
async def test_nothing_runs_while_no_step_does(plan, code):
    require(plan)
    async with LocalSandbox(slots=1, preload=(), plan=plan) as sandbox:
        await sandbox.start()
        async with await sandbox.open_session() as session:
            await session.run(code)
            slot = str(session.pid)
            if plan.namespaces:
                slot = str(Path(f"/proc/{slot}/ns/pid").readlink())
            await asyncio.sleep(0.6)
            before = cpu_seconds(slot)
            await asyncio.sleep(0.6)
            used = cpu_seconds(slot) - before
            after = await session.run("1 + 1")
            if after.state_lost and code == WAKERS:
                # They are ended for what they use; that is said once, and the session goes on.
                after = await session.run("1 + 1")

    assert after.value == "2"
    if code in (THREAD, CHILDREN):
        # A few ticks of the clock, for the slot that looks after them.
        assert used < 0.05
        assert not after.state_lost
    else:
        assert used < 0.3


@pytest.mark.asyncio(loop_scope="session")
async def test_what_wakes_by_itself_again_and_again_is_ended(bare):
    used = most = 0.0
    async with await bare.open_session() as session:
        await session.run(ALARMS)
        async with asyncio.timeout(60):
            while used >= most:  # until what it used is gone with it
                most = used
                await asyncio.sleep(0.1)
                used = cpu_seconds(str(session.pid))
        after = await session.run("1")

    assert most < 1.5
    assert (after.status, after.state_lost) == ("killed", True)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_background_thread_goes_on_with_the_next_step(bare):
    async with await bare.open_session() as session:
        await session.run(
            "import threading, time\nn = 0\n"
            "def count():\n    global n\n"
            "    while True:\n        n += 1\n        time.sleep(0.01)\n"
            "threading.Thread(target=count, daemon=True).start()"
        )
        await asyncio.sleep(0.6)
        first = int((await session.run("n")).value)
        second = int((await session.run("time.sleep(0.3); n")).value)

    assert first < 20
    assert second > first
