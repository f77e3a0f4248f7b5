"""Limits and results: what is refused, what is counted, and what survives the way through JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.errors import UsageError
from qwq_env.sandbox import ExecutionResult, Limits, LocalSandbox


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
    if bare.plan is None or not bare.plan.namespaces:
        pytest.skip("no children without namespaces")
    if (await bare.run("import os; os.listdir('/proc')[0]")).value is None:
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


async def test_memory_that_is_nobodys_is_that_of_the_program(caplog):
    limits = Limits(memory_mb=16, wall_seconds=20)
    async with LocalSandbox(slots=1, preload=()) as sandbox:
        await sandbox.start()
        if sandbox._groups is None or not sandbox.plan.namespaces:
            pytest.skip("no control groups, or no children")
        once = await sandbox.run(BUFFERS, limits=limits)
        async with await sandbox.open_session(limits=limits) as session:
            await session.run("1")
            stepped = await session.run(BUFFERS)

    assert {once.status, stepped.status} <= {"memory", "killed"}
    assert stepped.state_lost
    assert "lost" not in caplog.text
