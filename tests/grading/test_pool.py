import asyncio
import os
import pickle
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from qwq_env.grading.dispatch import GraderUnavailable
from qwq_env.grading.pool import GraderPool, PoolClosed, PoolSettings
from qwq_env.grading.score import Score

HERE = Path(__file__).parent
# Python warns of it from 3.12 on. Here it is what the users of a pool do, and that they may.
FORKS_BESIDE_THREADS = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


def pool(**settings) -> GraderPool:
    return GraderPool(PoolSettings("pool_targets:graded", **settings))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids) -> bool:
    for _ in range(200):
        if not any(map(alive, pids)):
            return True
        time.sleep(0.01)
    return False


def test_it_grades_from_a_plain_thread():
    with pool() as graders:
        assert graders.run("echo", "é\ud800") == Score.right("é\ud800")


async def test_each_of_thousands_of_calls_gets_its_own_answer():
    with pool() as graders:
        scores = await asyncio.gather(*(graders.grade("echo", n) for n in range(3_000)))

    assert [score.reason for score in scores] == [str(n) for n in range(3_000)]


def test_calls_from_many_threads_get_their_own_answers():
    seen: Counter[bool] = Counter()
    with pool() as graders:

        def call(name: str) -> None:
            for n in range(50):
                seen[graders.run("echo", f"{name}{n}").reason == f"{name}{n}"] += 1

        threads = [threading.Thread(target=call, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == {True: 400}


async def test_a_stuck_call_loses_only_itself():
    with pool(workers=1, cpu_s=0.2) as graders:
        calls = [graders.grade("echo", n) for n in range(20)]
        calls.insert(3, graders.grade("ignore_everything"))
        scores = await asyncio.gather(*calls)

    assert (scores[3].value, scores.pop(3).reason) == (None, "too_complex")
    assert [score.reason for score in scores] == [str(n) for n in range(20)]


async def test_late_without_having_used_the_cpu_is_undecided_by_our_fault():
    with pool(deadline_s=0.2, cpu_s=0.1) as graders:
        score = await graders.grade("sleep", 60)

    assert (score.value, score.reason) == (None, "timeout")


async def test_a_call_that_was_late_once_is_tried_again(tmp_path):
    with pool(deadline_s=0.3, cpu_s=0.2) as graders:
        score = await graders.grade("sleep_once", str(tmp_path / "slept"))

    assert score == Score.right()


async def test_the_cpu_time_of_earlier_calls_is_not_a_later_call_s():
    with pool(workers=1, cpu_s=0.3) as graders:
        scores = [await graders.grade("spin", 0.15) for _ in range(4)]

    assert [score.value for score in scores] == [1.0] * 4


async def test_calls_behind_slow_ones_do_not_wait_for_them():
    """Three calls that would spin for a minute, on one worker, and quick ones behind them."""
    with pool(workers=1, cpu_s=60) as graders:
        slow = [asyncio.create_task(graders.grade("spin", 60)) for _ in range(3)]
        quick = await asyncio.wait_for(
            asyncio.gather(*(graders.grade("echo", n) for n in range(20))), 30
        )

        assert [score.reason for score in quick] == [str(n) for n in range(20)]
        assert not any(call.done() for call in slow)
        for call in slow:
            call.cancel()


async def test_a_slow_call_that_ends_is_answered_once_and_its_worker_goes():
    with pool(workers=1) as graders:
        slow = graders.grade("spin", 0.4)
        scores = await asyncio.gather(slow, *(graders.grade("pid") for _ in range(8)))
        after = [await graders.grade("pid") for _ in range(3)]

        assert scores[0] == Score.right()
        assert len({score.reason for score in after}) == 1
        assert len(graders.worker_pids()) == 1


async def test_a_lost_worker_is_replaced_and_the_call_tried_again(tmp_path):
    with pool(workers=1) as graders:
        score = await graders.grade("die_once", str(tmp_path / "died"))

    assert score == Score.right()


async def test_two_lost_workers_make_it_undecided_and_hurt_nobody_else():
    with pool(workers=1) as graders:
        lost, *kept = await asyncio.gather(
            graders.grade("die"), *(graders.grade("echo", n) for n in range(10))
        )

    assert (lost.value, lost.reason) == (None, "infra")
    assert [score.value for score in kept] == [1.0] * 10


async def test_too_much_memory_is_undecided_and_the_worker_goes_on():
    with pool(workers=1, memory_mb=128) as graders:
        score = await graders.grade("eat", 2 << 30)
        after = await graders.grade("eat", 1 << 20)

    assert (score.value, score.reason) == (None, "too_complex")
    assert after.value == 1.0


async def test_a_bug_in_a_grader_is_undecided():
    with pool() as graders:
        score = await graders.grade("raise")

    assert (score.value, score.reason) == (None, "infra")
    assert "ZeroDivisionError" in score.detail


async def test_workers_are_recycled():
    with pool(workers=1, recycle_after=5) as graders:
        pids = [(await graders.grade("pid")).reason for _ in range(23)]

    assert len(set(pids)) >= 4


async def test_a_killed_server_is_started_again():
    with pool(workers=1) as graders:
        first = int((await graders.grade("pid")).reason)
        server = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(server, signal.SIGKILL)
        assert gone([first])
        second = int((await graders.grade("pid")).reason)

    assert first != second


async def test_workers_know_nothing_of_the_callers_environment(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with pool() as graders:
        assert (await graders.grade("environment", "SECRET_TOKEN")).reason == "None"


async def test_close_leaves_no_process():
    graders = pool()
    await asyncio.gather(*(graders.grade("echo", n) for n in range(10)))
    pids = graders.worker_pids()
    server = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    graders.close()

    assert gone([*pids, server])
    with pytest.raises(PoolClosed):
        await graders.grade("echo", 1)


async def test_close_answers_what_was_waiting():
    graders = pool(workers=1)
    waiting = graders.submit("sleep", 60)
    while not graders.worker_pids():
        await asyncio.sleep(0.01)
    graders.close()

    assert waiting.result(5).value is None


async def test_cancelled_calls_are_never_run():
    with pool(workers=1, deadline_s=0.2) as graders:
        first = asyncio.create_task(graders.grade("sleep", 0.1))
        cancelled = [asyncio.create_task(graders.grade("sleep", 60)) for _ in range(500)]
        await asyncio.sleep(0)
        for call in cancelled:
            call.cancel()

        assert (await first).value == 1.0
        # A few were written to the worker already; all five hundred would take 100 seconds.
        assert (await asyncio.wait_for(graders.grade("echo", 1), 30)).reason == "1"


@FORKS_BESIDE_THREADS
def test_a_forked_child_uses_workers_of_its_own():
    with pool(workers=1) as graders:
        ours = graders.run("pid").reason
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if graders.run("pid").reason != ours else 2
                graders.close()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert graders.run("pid").reason == ours


def test_a_pickled_pool_is_a_pool_with_the_same_settings():
    with pool(deadline_s=3) as graders:
        graders.run("echo", 1)
        copy = pickle.loads(pickle.dumps(graders))

    assert copy.settings == graders.settings
    assert copy.run("echo", 2).reason == "2"
    copy.close()


async def test_a_function_that_does_not_exist_is_the_operators_error():
    graders = GraderPool(PoolSettings("no_such_module:function"))
    with graders, pytest.raises(GraderUnavailable, match="no_such_module"):
        await graders.grade(1)


@FORKS_BESIDE_THREADS
def test_workers_end_with_their_parent():
    """A trainer that is killed leaves nothing behind, not even a stuck worker."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        graders = pool(workers=2)
        pid = int(graders.run("pid").reason)
        server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        graders.submit("ignore_everything")
        os.write(write, f"{server} {' '.join(map(str, graders.worker_pids()))}".encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    with os.fdopen(read) as pipe:
        pids = [int(pid) for pid in pipe.read().split()]
    os.waitpid(child, 0)

    assert len(pids) >= 2
    assert gone(pids)
