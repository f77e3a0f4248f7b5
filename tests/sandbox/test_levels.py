"""Levels: each that this kernel offers is had; what is asked for and lacking is refused."""

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
from qwq_env.sandbox.levels import LAYERS, Plan, plans
from qwq_env.sandbox.pool import SlotPool

from .kernel import kernel, require

PLANS = plans()


def plan_name(plan):
    return f"{plan.level}-{'-'.join(plan.layers)}"


async def found_by_the_canary(plan):
    require(plan)
    pool = SlotPool(plan, (), 1, 64, None)
    try:
        await pool.start()
        return await canary.leaks(pool)
    finally:
        await pool.aclose()


async def test_the_strongest_level_that_the_kernel_offers_is_had():
    async with LocalSandbox(slots=1, preload=(), allow_unsafe=True) as sandbox:
        await sandbox.start()

        assert sandbox.level == kernel().level
        assert sandbox.plan == PLANS[0]


def test_the_plans_are_what_the_kernel_may_offer():
    had = kernel()
    expected = [
        Plan("A", True, True, had.landlock >= 6, True),
        *[Plan("B", False, True, True, True)] * (had.landlock >= 6),
        Plan("C", True, False, False, True),
        Plan("C", False, True, False, True),
        Plan("D", False, False, False, True),
    ]
    if had.landlock:
        assert list(PLANS) == expected
    else:
        assert [plan.level for plan in PLANS] == ["C", "D"]
    assert all(layer in LAYERS for plan in PLANS for layer in plan.layers)


@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
async def test_every_plan_that_the_kernel_offers_withholds_what_it_must(plan):
    assert plan.level == "D" or await found_by_the_canary(plan) == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("plan", PLANS, ids=plan_name)
async def test_the_streams_can_be_opened_by_name(started, plan):
    code = """
for name in ("stdout", "stderr"):
    with open(f"/dev/{name}", "w") as stream:
        stream.write(f"to {name}\\n")
with open("/dev/stdin") as stream:
    print(stream.read())
"""
    result = await (await started(plan)).run(code, stdin=b"given")

    assert (result.stdout, result.stderr) == ("to stdout\ngiven\n", "to stderr\n")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.level != "D"], ids=plan_name)
async def test_no_program_ends_that_of_another_slot(started, plan, caplog):
    sandbox = await started(plan)
    attack = "import os; os.kill(0, 9)"
    with caplog.at_level(logging.INFO):
        honest = asyncio.create_task(sandbox.run("import time; time.sleep(0.3)\n'done'"))
        for _ in range(5):
            await sandbox.run(attack)
        result = await honest

    assert result.value == repr("done")
    assert "lost" not in caplog.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.namespaces], ids=plan_name)
async def test_the_host_has_no_name_inside(started, plan):
    result = await (await started(plan)).run(
        "import os, socket; [os.uname()[1], socket.gethostname()]"
    )

    assert result.value == repr(["sandbox", "sandbox"])


@pytest.mark.parametrize(
    ("plan", "song"),
    [
        (
            Plan("D", False, False, False, False),
            {
                "reads a file of the host",
                "writes a file of the host",
                "makes a file in a folder of the host",
                "changes mode or times of a file of the host",
                "reaches the loopback",
                "reaches an abstract socket",
                "may signal its slot",
                "makes an inet socket",
                "has the kernel send signals to the host",
            },
        ),
        (
            Plan("D", False, False, False, True),
            {
                "reads a file of the host",
                "writes a file of the host",
                "makes a file in a folder of the host",
                "changes mode or times of a file of the host",
            },
        ),
        (Plan("D", True, True, False, False), {"makes an inet socket"}),
        (Plan("C", False, True, False, True), set()),
    ],
    ids=["nothing", "seccomp", "all but seccomp", "Landlock without scopes"],
)
async def test_the_canary_sings_of_what_lies_open(plan, song):
    assert set(await found_by_the_canary(plan)) - OF_AN_ORDINARY_USER == song


OF_AN_ORDINARY_USER = {"may signal the host"} if os.geteuid() else set()
"""Whose programs run as the same user as the host."""


async def test_a_level_that_does_not_hold_is_refused():
    false = Plan("A", namespaces=False, landlock=False, scoped=False, seccomp=True)
    require(false)

    with pytest.raises(LevelUnavailable, match=r"level A cannot be had here.*reads a file of the"):
        async with LocalSandbox(slots=1, preload=(), plan=false, require="A") as sandbox:
            await sandbox.start()


LEAKS = """
import builtins, io, os
os.environ["HF_TOKEN"] = "secret"
os.getuid = lambda: 0
os.kill = lambda pid, number: None
builtins.open = lambda *_: io.StringIO()
"""


@pytest.mark.parametrize(
    ("leak", "song"),
    [
        (
            LEAKS,
            "may signal the host; reads a file of the host; reads the slot's memory; "
            "runs as root; sees the host's environment",
        ),
        ("1 / 0", "the canary did not run: ZeroDivisionError: division by zero"),
        ("import os; os._exit(0)", "the canary did not run: ok"),
    ],
    ids=["leaks", "error", "silence"],
)
async def test_a_sandbox_that_leaks_is_refused(monkeypatch, leak, song):
    monkeypatch.setattr(canary, "_PROGRAM", f"{leak}\n{canary._PROGRAM}")
    require(PLANS[0])

    with pytest.raises(LevelUnavailable) as refusal:
        async with LocalSandbox(slots=1, preload=(), plan=PLANS[0]) as sandbox:
            await sandbox.start()
    assert song in str(refusal.value).replace("may signal its slot; ", "")


class Groups:
    """Control groups that only say whether they are there."""

    made: list = []  # noqa: RUF012

    def __init__(self):
        self.made.append(self)

    def remove(self):
        self.made.remove(self)
        return True


async def test_starts_that_are_refused_leave_no_control_groups(monkeypatch):
    monkeypatch.setattr("qwq_env.sandbox.local.CgroupTree.create", Groups)
    sandbox = LocalSandbox(slots=1, preload=(), level="A", plan=Plan("B", False, True, True, True))
    for _ in range(3):
        with pytest.raises(LevelUnavailable):
            await sandbox.start()
    await sandbox.aclose()

    assert not Groups.made


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


def test_a_host_that_is_killed_leaves_no_folder():
    require(Plan("B", False, True, True, True))
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
