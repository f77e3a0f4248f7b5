"""Limits and results: what is refused, what is counted, and what survives the way through JSON."""

import asyncio
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.sandbox import ExecutionResult, Limits, LocalSandbox
from qwq_env.sandbox.levels import Plan

from .kernel import kernel

PLANS = [Plan("D", namespaces, False, False, True) for namespaces in (True, False)]
"""What bounds a program otherwise, where namespaces surround it and where they don't."""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cpu_seconds", -1),
        ("wall_seconds", 0),
        ("wall_seconds", float("nan")),
        ("wall_seconds", float("inf")),
        ("memory_mb", 0),
        ("memory_mb", 1.5),
        ("memory_mb", True),
        ("processes", 10**9),
        ("file_mb", -1),
        ("output_bytes", "many"),
        ("disk_mb", 0),
        ("cpu_seconds", None),
    ],
)
def test_an_absurd_limit_is_refused_in_one_line(field, value):
    with pytest.raises(UsageError) as refusal:
        Limits(**{field: value})

    message = str(refusal.value)
    assert f"limits.{field}" in message
    assert repr(value) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**5000), "9" * 10_000, [0] * 10_000],
    ids=["long", "longer", "str", "list"],
)
@pytest.mark.parametrize("field", ["memory_mb", "wall_seconds"])
def test_an_absurdly_long_limit_is_shown_in_short(field, value):
    with pytest.raises(UsageError, match=rf"^limits.{field}: ") as refusal:
        Limits(**{field: value})

    assert len(str(refusal.value)) < 200


def test_limits_survive_json():
    limits = Limits(wall_seconds=2.5, memory_mb=64)

    assert Limits.from_json(limits.to_json()) == limits
    assert Limits.from_json({"memory_mb": 64}).memory_mb == 64


@given(
    st.builds(
        ExecutionResult,
        status=st.sampled_from(["ok", "error", "timeout", "killed"]),
        stdout=st.text(),
        value=st.none() | st.text(),
        exit_code=st.none() | st.integers(0, 255),
        truncated=st.lists(st.sampled_from(["stdout", "stderr"])).map(tuple),
        state_lost=st.booleans(),
    )
)
def test_results_survive_json(result):
    assert ExecutionResult.from_json(result.to_json()) == result


@pytest.mark.parametrize("data", [None, [], {"status": "fine"}, {"status": "ok", "stduot": ""}])
def test_what_is_no_result_is_refused(data):
    with pytest.raises(UsageError):
        ExecutionResult.from_json(data)


LIMIT, BELOW, ABOVE = 0.5, 0.4, 0.6
"""Seconds: a limit is held to a fifth of it."""

SLEEP = "import time\ndef use(seconds):\n    time.sleep(seconds)\n"
SPIN = """
import time
def use(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
"""
HOLD = "def use(megabytes):\n    bytearray(megabytes << 20)\n"


async def used(sandbox, kind, code, amount, limits):
    """What it comes to when `use` of `code` uses so much, in one of the four ways to run it."""
    if kind == "call":
        [called] = await sandbox.call(code, "use", [[amount]], limits=limits)
        return called
    program = f"{code}\nuse({amount})"
    if kind == "run":
        return await sandbox.run(program, limits=limits)
    wall = limits.wall_seconds if kind == "step of its own time" else None
    given = dataclasses.replace(limits, wall_seconds=60) if wall else limits
    async with await sandbox.open_session(limits=given) as session:
        return await session.run(program, wall_seconds=wall)


async def in_one_of_three(attempt):
    """Returns what `attempt` comes to; on a busy machine a program, or its end, may come late."""
    for _ in range(3):
        outcome = await attempt()
        if outcome == ("ok", "timeout"):
            break
    return outcome


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("kind", ["run", "step", "step of its own time", "call"])
async def test_wall_time_is_held_to_a_fifth(bare, kind):
    limits = Limits(wall_seconds=LIMIT)

    async def attempt():
        both = [used(bare, kind, SLEEP, seconds, limits) for seconds in (BELOW, ABOVE)]
        below, above = await asyncio.gather(*both)
        assert above.wall_seconds >= LIMIT
        return below.status, above.status

    assert await in_one_of_three(attempt) == ("ok", "timeout")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("plan", "kind"),
    [(PLANS[0], "run"), (PLANS[0], "step"), (PLANS[0], "call"), (PLANS[1], "run")],
    ids=["run", "step", "call", "without namespaces"],
)
async def test_cpu_time_is_held_to_a_fifth(started, plan, kind):
    """As a slot counts it, without a control group."""
    await check_cpu_time(await started(plan), kind)


@pytest.mark.asyncio(loop_scope="session")
async def test_cpu_time_is_held_to_a_fifth_where_a_control_group_counts_it(bare):
    await check_cpu_time(bare, "run")


async def check_cpu_time(sandbox, kind):
    limits = Limits(cpu_seconds=LIMIT, wall_seconds=60)

    async def attempt():
        below = await used(sandbox, kind, SPIN, BELOW, limits)
        above = await used(sandbox, kind, SPIN, ABOVE, limits)
        if kind != "call" and above.status == "timeout":
            assert BELOW < below.cpu_seconds < LIMIT <= above.cpu_seconds
        return below.status, above.status

    assert await in_one_of_three(attempt) == ("ok", "timeout")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", ["run", "step", "call"])
@pytest.mark.parametrize("plan", PLANS, ids=["namespaces", "none"])
async def test_memory_is_held_to_a_fifth(started, plan, kind):
    sandbox, limits = await started(plan), Limits(memory_mb=256)

    below = await used(sandbox, kind, HOLD, 205, limits)
    above = await used(sandbox, kind, HOLD, 307, limits)

    assert (below.status, above.status) == ("ok", "memory")


TOGETHER = """
import os, sys, time
def hold(megabytes):
    kept = b"x" * (megabytes << 20)
    time.sleep(1.5)  # so long that all of them hold it at a time, however slowly each starts
for _ in range(3):
    if os.fork() == 0:
        hold({0})
        os._exit(0)
hold({0})
sys.exit(sum(os.wait()[1] != 0 for _ in range(3)))
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_memory_of_all_processes_is_held_by_a_control_group(bare):
    """Which allows 192 MB for the interpreter on top of the 256."""
    if not (kernel().cgroups and kernel().namespaces):
        pytest.skip("no control groups, or no children")

    below = await bare.run(TOGETHER.format(90), limits=Limits(memory_mb=256))
    above = await bare.run(TOGETHER.format(134), limits=Limits(memory_mb=256))

    assert (below.status, above.ok) == ("ok", False)


WRITE = """
import sys
for number, megabytes in enumerate({}):
    with open(str(number), "wb") as file:
        file.write(bytes(megabytes << 20))
while {}:
    pass  # a little while, in which whoever only counts it finds it
"""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("files", "limits", "said"),
    [
        ([8], Limits(file_mb=10), None),
        ([12], Limits(file_mb=10), "File too large"),
        ([2] * 8, Limits(disk_mb=20), None),
        ([4] * 4, Limits(disk_mb=20), None),
        ([4] * 6, Limits(disk_mb=20), "No space left on device"),
    ],
)
@pytest.mark.parametrize("plan", PLANS, ids=["namespaces", "none"])
async def test_disk_is_held_to_a_fifth(started, plan, files, limits, said):
    counted = not plan.namespaces and said is not None and "space" in said

    result = await (await started(plan)).run(WRITE.format(files, counted), limits=limits)

    if counted:
        assert result.status == "killed"
    else:
        assert (result.status, said or "") == ("error" if said else "ok", said or result.stderr)
        assert (said or "") in result.stderr


PROCESSES = """
import os, time
for _ in range({}):
    if os.fork() == 0:
        time.sleep(10)
"""
THREADS = """
import threading, time
for _ in range({}):
    threading.Thread(target=time.sleep, args=(0.1,)).start()
"""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("code", [PROCESSES, THREADS], ids=["processes", "threads"])
async def test_processes_are_held_to_a_fifth(started, code):
    sandbox, limits = await started(PLANS[0]), Limits(processes=10, memory_mb=1024)

    below = await sandbox.run(code.format(8 - 1), limits=limits)
    above = await sandbox.run(code.format(12 - 1), limits=limits)

    assert (below.status, above.status) == ("ok", "error")


@pytest.mark.asyncio(loop_scope="module")
async def test_threads_are_held_to_a_fifth_where_they_are_counted(started):
    """The guard counts them every now and then: so these stay longer."""
    sandbox, limits = await started(PLANS[1]), Limits(processes=10, memory_mb=1024)
    code = THREADS.replace("0.1", "1")

    below, above = await asyncio.gather(
        *(sandbox.run(code.format(count - 1), limits=limits) for count in (8, 12))
    )

    assert (below.status, above.status) == ("ok", "killed")


FLOOD = """
import os, time
os.write(1, b"x" * {})
time.sleep(0.2)
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_output_is_kept_to_the_byte_and_stopped_at_eight_times(bare):
    limits = Limits(output_bytes=4000)
    results = [await bare.run(FLOOD.format(4000 * n), limits=limits) for n in (1, 6, 10)]

    assert [(result.status, result.truncated) for result in results] == [
        ("ok", ()),
        ("ok", ("stdout",)),
        ("output", ("stdout",)),
    ]
    assert {result.stdout for result in results} == {"x" * 4000}


SPINNERS = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        while True:
            pass
time.sleep(20)
print("done")
"""

CHILDREN_THAT_ARE_WAITED_FOR = """
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork() == 0:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        os._exit(0)
    os.wait()
print("done")
"""


CHILDREN_THAT_NOBODY_WAITS_FOR = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
""" + CHILDREN_THAT_ARE_WAITED_FOR.replace("os.wait()", "time.sleep(0.05)")

CHILDREN_OF_CHILDREN = """
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork() == 0:
        if os.fork() == 0:
            until = time.process_time() + 0.05
            while time.process_time() < until:
                pass
        os._exit(0)
    os.wait()
    time.sleep(0.05)
print("done")
"""


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("mode", ["run", "step"])
@pytest.mark.parametrize(
    "code",
    [
        SPINNERS,
        CHILDREN_THAT_ARE_WAITED_FOR,
        CHILDREN_THAT_NOBODY_WAITS_FOR,
        CHILDREN_OF_CHILDREN,
    ],
    ids=["spinners", "waited for", "not waited for", "of children"],
)
async def test_the_cpu_time_of_children_counts(bare, code, mode):
    if not kernel().namespaces:
        pytest.skip("no children without namespaces")
    if not kernel().proc:
        pytest.skip("no /proc in the sandbox, so that nobody can count")
    limits = Limits(cpu_seconds=0.3, wall_seconds=60, processes=256)
    if mode == "run":
        result = await bare.run(code, limits=limits)
    else:
        async with await bare.open_session(limits=limits) as session:
            result = await session.run(code)

    assert (result.status, result.stdout) == ("timeout", "")


BUFFERS = """
import os, socket
for _ in range(24):
    if os.fork() == 0:
        ends = [end for _ in range(100) for end in socket.socketpair()]
        for end in ends:
            end.setblocking(False)
            os.set_inheritable(end.fileno(), True)
            try:
                while True:
                    end.send(bytes(65536))
            except OSError:
                pass
        os.execv("/bin/sleep", ["sleep", "30"])
os.execv("/bin/sleep", ["sleep", "30"])
"""


async def test_memory_of_an_earlier_program_is_not_held_against_the_next():
    if not (kernel().cgroups and kernel().namespaces):
        pytest.skip("no control groups, or no children")
    glutton = (
        "import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n"
        "        x = bytearray(50 << 20); time.sleep(1); os._exit(0)\n"
        "print(sorted({os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(12)}))"
    )
    limits = Limits(memory_mb=64, wall_seconds=20)
    async with LocalSandbox(slots=1, preload=(), cgroup="require") as sandbox:
        first = await sandbox.run(glutton, limits=limits)
        second = await sandbox.run("import os; os.kill(os.getpid(), 9)", limits=limits)

    assert (first.status, "-9" in first.stdout) == ("ok", True), first
    assert second.status == "killed"


async def test_memory_that_is_nobodys_is_that_of_the_program(caplog):
    if not (kernel().cgroups and kernel().namespaces):
        pytest.skip("no control groups, or no children")
    limits = Limits(memory_mb=16, wall_seconds=20)
    async with LocalSandbox(slots=1, preload=(), cgroup="require") as sandbox:
        once = await sandbox.run(BUFFERS, limits=limits)
        async with await sandbox.open_session(limits=limits) as session:
            await session.run("1")
            stepped = await session.run(BUFFERS)

    assert {once.status, stepped.status} <= {"memory", "killed"}
    assert stepped.state_lost
    assert "lost" not in caplog.text
