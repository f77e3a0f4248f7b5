"""Sessions: state from step to step, and what becomes of it when a step goes wrong."""

import asyncio

import pytest
import pytest_asyncio

from qwq_env.errors import UsageError
from qwq_env.sandbox import Limits, SessionClosed
from qwq_env.sandbox import session as sandbox_session
from qwq_env.sandbox.jail import wire

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS = Limits(cpu_seconds=10, wall_seconds=30)


@pytest.fixture
def patience(monkeypatch):
    """Give an interrupted step longer to end, as a busy machine may need."""
    monkeypatch.setattr(sandbox_session, "_SOFT_SECONDS", 20.0)


@pytest_asyncio.fixture(loop_scope="session")
async def session(bare):
    async with await bare.open_session(limits=LIMITS) as opened:
        yield opened


async def test_names_live_on(session):
    await session.run("def double(x):\n    return 2 * x\n\ny = 20")

    result = await session.run("print('hello')\ndouble(y) + 2")

    assert (result.status, result.value, result.stdout) == ("ok", "42", "hello\n")
    assert not result.state_lost


async def test_an_error_keeps_the_state(session):
    await session.run("x = 1")

    failed = await session.run("x = 2\n1 / 0")

    assert failed.status == "error"
    assert "ZeroDivisionError" in failed.stderr
    assert (await session.run("x")).value == "2"


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)"])
async def test_a_step_that_overruns_is_interrupted_and_the_state_kept(session, patience, code):
    await session.run("x = 1")

    result = await session.run("x = 2\n" + code, wall_seconds=1)

    assert (result.status, result.state_lost) == ("timeout", False)
    assert (await session.run("x")).value == "2"


async def test_a_step_that_will_not_stop_costs_the_state_and_says_so(session):
    await session.run("x = 1")

    stubborn = (
        "while True:\n"
        "    try:\n"
        "        x = 1\n"
        "        while True: x = 2\n"
        "    except BaseException: x = 3"
    )
    killed = await session.run(stubborn, wall_seconds=1)
    after = await session.run("'x' in globals()")
    later = await session.run("1")

    assert (killed.status, killed.state_lost) == ("timeout", True)
    assert (after.value, after.state_lost) == ("False", True)
    assert not later.state_lost


@pytest.mark.parametrize("code", ["import os; os._exit(0)", "import ctypes; ctypes.string_at(0)"])
async def test_an_interpreter_that_ends_itself_is_replaced(session, code):
    ended = await session.run(code)

    assert ended.status in ("error", "killed")
    assert ended.state_lost
    assert (await session.run("1 + 1")).value == "2"


async def test_exit_does_not_end_the_session(session):
    await session.run("x = 5")

    result = await session.run("import sys; sys.exit(3)")

    assert (result.status, result.exit_code) == ("error", 3)
    assert (await session.run("x")).value == "5"


async def test_memory_keeps_the_state(session):
    await session.run("x = 5")

    assert (await session.run("y = bytearray(10**9)")).status == "memory"
    assert (await session.run("x")).value == "5"


async def test_a_flood_is_stopped_and_the_state_kept(session, patience):
    await session.run("x = 5")

    result = await session.run("while True: print('x' * 1000)")

    assert (result.status, result.truncated) == ("output", ("stdout",))
    assert (await session.run("x")).value == "5"


async def test_a_flood_is_not_held_against_later_steps(session, patience):
    await session.run("while True: print('x' * 1000)")

    again = await session.run("while True: print('x' * 1000)")
    crashed = await session.run("import ctypes; ctypes.string_at(0)")

    assert again.status == "output"
    assert (crashed.status, crashed.state_lost) == ("killed", True)


@pytest.mark.parametrize(
    "spoil",
    [
        "sys.stdout.close(); sys.stderr.close()",
        "del sys.stdout, sys.stderr",
        "sys.stdout = sys.stderr = None",
        "sys.stdout.detach(); sys.stderr.detach()",
    ],
)
async def test_streams_that_a_step_spoils_are_mended_for_the_next(session, spoil):
    await session.run(f"import sys; x = 5; {spoil}")

    result = await session.run("print(x)\nprint('no', file=sys.stderr)")

    assert (result.status, result.stdout, result.stderr) == ("ok", "5\n", "no\n")


async def test_a_stream_of_the_programs_own_is_kept(session):
    await session.run("import io, sys; sys.stdout = kept = io.StringIO()")

    await session.run("print('there')")

    assert (await session.run("kept.getvalue()")).value == repr("there\n")


@pytest.mark.parametrize("code", ["", " \n\t", b"", None, 5, b"\xff"])
async def test_what_is_no_program_is_refused(session, code):
    with pytest.raises(UsageError, match=r"^code: "):
        await session.run(code)


async def test_a_quick_step_leaves_the_next_its_whole_time(session):
    await session.run("import time")
    for _ in range(5):
        await session.run("1")

        slept = await session.run("time.sleep(0.3); print('woke')", wall_seconds=20)

        assert (slept.status, slept.stdout) == ("ok", "woke\n")


async def test_an_interpreter_at_rest_uses_no_cpu(session, bare):
    await session.run("import time; spent = time.process_time()")
    await asyncio.sleep(0.5)

    result = await session.run("time.process_time() - spent")

    assert float(result.value) < 0.1


@pytest.mark.parametrize(
    "value", ["'\\ud800'", "type('T', (), {'__repr__': lambda s: '\\ud800é'})()"]
)
async def test_any_value_crosses_the_wall(session, value):
    result = await session.run(value)

    assert result.value in ("'\\ud800'", "\ud800é")


async def test_output_of_one_step_does_not_appear_in_the_next(session):
    await session.run("print('one')")

    assert (await session.run("print('two')")).stdout == "two\n"


async def test_files_live_as_long_as_the_session(session, bare):
    await session.run("open('note', 'w').write('kept')")

    assert (await session.run("open('note').read()")).value == "'kept'"
    assert (await bare.run("import os; os.listdir('.')")).value == "[]"


async def test_a_forged_answer_is_not_believed(session):
    forged = wire.ANSWER.pack(bytes(16), 0, 0) + wire.pack_account("'forged'", None)
    code = (
        "import os, struct\n"
        f"answer = {forged!r}\n"
        "os.write(6, struct.pack('=I', len(answer)) + answer)\n"
        "'honest'"
    )

    assert (await session.run(code)).value == "'honest'"


async def test_steps_wait_for_their_turn(session):
    await session.run("seen = []")
    await asyncio.gather(*(session.run(f"seen.append({n})") for n in range(10)))

    assert (await session.run("seen")).value == str(list(range(10)))


async def test_sessions_are_apart(bare):
    sessions = [await bare.open_session() for _ in range(4)]
    await asyncio.gather(*(s.run(f"x = {n}") for n, s in enumerate(sessions)))
    values = [(await s.run("x")).value for s in sessions]
    await asyncio.gather(*(s.aclose() for s in sessions))

    assert values == ["0", "1", "2", "3"]


async def test_a_cancelled_step_costs_the_state_and_says_so(session):
    await session.run("x = 1")
    step = asyncio.create_task(session.run("while True: pass"))
    await asyncio.sleep(0.1)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)

    after = await session.run("'x' in globals()")

    assert (after.value, after.state_lost) == ("False", True)


async def test_after_the_end(bare):
    session = await bare.open_session()
    await session.aclose()
    await session.aclose()

    with pytest.raises(SessionClosed):
        await session.run("1")
