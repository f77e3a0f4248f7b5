"""Levels: each that this machine offers runs programs; what is asked for and lacking is refused."""

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import LevelUnavailable, Limits, LocalSandbox, canary
from qwq_env.sandbox.levels import LAYERS, LEVELS, Plan, plans
from qwq_env.sandbox.pool import SlotPool

PLANS = plans()


def plan_name(plan):
    return f"{plan.level}-{'-'.join(plan.layers)}"


@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
async def test_every_plan_runs_programs_or_says_why_not(plan):
    pool = SlotPool(plan, (), 1, 64, None)
    try:
        await pool.start()
    except Exception as error:
        pytest.skip(f"not on this machine: {error}")
    try:
        found = await canary.leaks(pool)
    finally:
        await pool.aclose()

    assert plan.level == "D" or found == []


@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
async def test_the_streams_can_be_opened_by_name(plan):
    sandbox = LocalSandbox(slots=1, preload=(), plan=plan, allow_unsafe=True)
    code = """
for name in ("stdout", "stderr"):
    with open(f"/dev/{name}", "w") as stream:
        stream.write(f"to {name}\\n")
with open("/dev/stdin") as stream:
    print(stream.read())
"""
    async with sandbox:
        try:
            await sandbox.start()
        except LevelUnavailable as error:
            pytest.skip(f"not on this machine: {error}")
        result = await sandbox.run(code, stdin=b"given")

    assert (result.stdout, result.stderr) == ("to stdout\ngiven\n", "to stderr\n")


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.level != "D"], ids=plan_name)
async def test_no_program_ends_that_of_another_slot(plan, caplog):
    attack = "import os; os.kill(0, 9)"
    async with LocalSandbox(slots=2, preload=(), plan=plan) as sandbox:
        try:
            await sandbox.start()
        except LevelUnavailable as error:
            pytest.skip(f"not on this machine: {error}")
        with caplog.at_level(logging.INFO):
            honest = asyncio.create_task(sandbox.run("import time; time.sleep(0.3)\n'done'"))
            for _ in range(5):
                await sandbox.run(attack)
            result = await honest

    assert result.value == repr("done")
    assert "lost" not in caplog.text


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.namespaces], ids=plan_name)
async def test_the_host_has_no_name_inside(plan):
    async with LocalSandbox(slots=1, preload=(), plan=plan) as sandbox:
        try:
            await sandbox.start()
        except LevelUnavailable as error:
            pytest.skip(f"not on this machine: {error}")
        result = await sandbox.run("import os, socket; [os.uname()[1], socket.gethostname()]")

    assert result.value == repr(["sandbox", "sandbox"])


async def test_the_canary_sings_where_files_lie_open():
    pool = SlotPool(PLANS[-1], (), 1, 64, None)
    try:
        await pool.start()
        found = await canary.leaks(pool)
    finally:
        await pool.aclose()

    assert "reads a file of the host" in found


async def test_the_canary_sings_where_nothing_is_filtered():
    pool = SlotPool(Plan("D", False, False, False, False), (), 1, 64, None)
    try:
        await pool.start()
        found = await canary.leaks(pool)
    finally:
        await pool.aclose()

    assert {
        "has the kernel send signals to the host",
        "changes mode or times of a file of the host",
        "writes a file of the host",
    } <= set(found)


async def test_signals_are_refused_where_no_kernel_confines_them():
    if not any(plan.landlock for plan in PLANS):
        pytest.skip("no Landlock")
    pool = SlotPool(Plan("C", False, True, False, True), (), 1, 64, None)
    try:
        await pool.start()
        found = await canary.leaks(pool)
    finally:
        await pool.aclose()

    assert found == []


A_HOST = """
import asyncio
from qwq_env.sandbox import LocalSandbox

async def main():
    sandbox = LocalSandbox(slots=1, preload=(), level="B", cgroup="off")
    await sandbox.start()
    await sandbox.run("import os; os.makedirs('left/behind')")
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(all(plan.level != "B" for plan in PLANS), reason="no level B here")
def test_a_host_that_is_killed_leaves_no_folder():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        host = subprocess.Popen(
            [sys.executable, "-c", A_HOST],
            env=os.environ | {"TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with host:
            assert host.stdout.readline() == b"ready\n"
            assert list(Path(folder).iterdir())
            host.kill()
        end = time.monotonic() + 60
        while list(Path(folder).iterdir()) and time.monotonic() < end:
            time.sleep(0.02)

        assert list(Path(folder).iterdir()) == []


UNDER_AN_OLD_LANDLOCK = """
import os, sys
from qwq_env.sandbox.jail import seccomp, syscalls
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.install_filter(seccomp.for_lone_child(may_signal=False, may_truncate=False))
for attempt in (
    lambda: os.truncate(sys.argv[1], 0),
    lambda: os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC),
    lambda: os.open(sys.argv[1], os.O_ACCMODE | os.O_TRUNC),
    lambda: os.kill(os.getpid(), 0),
    lambda: os.fork(),
):
    try:
        attempt()
        print("done")
    except PermissionError:
        pass
os.chmod(sys.argv[1], 0)
os.utime(sys.argv[1], (0, 0))
os.chown(sys.argv[1], 1, 1)
with open(sys.argv[2], "w") as file:
    file.write("gone")
    file.flush()
    file.truncate(2)
"""


def test_what_an_old_landlock_does_not_judge_is_filtered(tmp_path):
    victim, own = tmp_path / "victim", tmp_path / "own"
    victim.write_text("precious")
    own.write_text("old and longer")
    before = victim.stat()[:6]
    command = [sys.executable, "-c", UNDER_AN_OLD_LANDLOCK, str(victim), str(own)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("", "")
    assert (victim.read_text(), own.read_text()) == ("precious", "go")
    assert victim.stat()[:6] == before


def test_plans_go_from_strong_to_weak():
    order = [LEVELS.index(plan.level) for plan in PLANS]

    assert order == sorted(order)
    assert PLANS[-1].level == "D"
    assert all(layer in LAYERS for plan in PLANS for layer in plan.layers)


async def test_no_isolation_is_refused_unless_allowed(caplog):
    with pytest.raises(LevelUnavailable):
        async with LocalSandbox(slots=1, preload=(), level="D") as sandbox:
            await sandbox.start()
    with caplog.at_level(logging.WARNING):
        async with LocalSandbox(slots=1, preload=(), level="D", allow_unsafe=True) as sandbox:
            assert (await sandbox.run("print(1)")).stdout == "1\n"

            assert sandbox.level == "D"
    assert "level D" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"level": "E"}, {"require": "a"}, {"slots": 0}, {"slots": -1}, {"cgroup": "yes"}],
)
def test_absurd_options_are_refused(options):
    with pytest.raises(UsageError):
        LocalSandbox(**options)


def test_a_sandbox_belongs_to_one_loop():
    sandbox = LocalSandbox(slots=1, preload=(), allow_unsafe=True)

    async def use():
        return await sandbox.run("1", limits=Limits(wall_seconds=5))

    with asyncio.Runner() as runner:
        runner.run(use())
        with pytest.raises(UsageError, match="another event loop"):
            asyncio.run(use())
        runner.run(sandbox.aclose())
