"""The sandbox from ordinary code."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import BlockingSandbox, LocalSandbox


@pytest.fixture
def sandbox():
    with BlockingSandbox(LocalSandbox(slots=2, preload=(), allow_unsafe=True)) as opened:
        yield opened


def test_programs_calls_and_sessions(sandbox):
    session = sandbox.open_session()
    session.run("x = 20")

    assert sandbox.run("6 * 7").value == "42"
    assert sandbox.call("def f(x): return x", "f", [[1]])[0].value == 1
    assert session.run("x + 1").value == "21"
    session.close()


def test_many_threads_get_their_own_answers(sandbox):
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: sandbox.run(f"{n} * 2").value, range(32)))

    assert results == [str(2 * n) for n in range(32)]


def test_after_the_end(sandbox):
    sandbox.close()
    sandbox.close()

    with pytest.raises(UsageError):
        sandbox.run("1")
