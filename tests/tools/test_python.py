from __future__ import annotations

import asyncio
import gc
import pickle
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.sandbox import ExecutionResult, Limits, LocalSandbox, Sandbox, SandboxSession
from qwq_env.task import Task
from qwq_env.tool import ToolResult
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.tools.python import Backend, PythonTool
from qwq_env.turn import ToolCall

TASK = Task("t", "1+1?", "2")


@pytest.fixture
async def python(backend: Backend) -> AsyncIterator[PythonTool]:
    tool = PythonTool(backend=backend, seconds=2).for_episode(TASK, 7)
    yield tool
    await tool.aclose()


@pytest.mark.parametrize("backend", ["sandbox", "subprocess"])
def test_a_slow_call_is_interrupted_before_the_toolbox_gives_it_up(backend: Backend) -> None:
    """Given up, it would lose its variables."""
    assert PythonTool(backend=backend).limits.wall_seconds < ToolLimits().seconds


async def run(tool: PythonTool, code: str) -> str:
    return (await tool.call({"code": code})).content


async def test_names_live_on_and_values_are_shown(python: PythonTool) -> None:
    assert await run(python, "x = 20\nprint('kept')") == "kept"
    assert await run(python, "print('sum')\nx + 1") == "sum\n21"
    assert await run(python, "x += 1") == "(no output; print a value to see it)"
    assert await run(python, "'text'") == "'text'"


async def test_an_error_is_shown_from_its_end(python: PythonTool) -> None:
    chain = "\n".join(f"def f{i}(): f{i + 1}()" for i in range(12))
    answer = await python.call({"code": f"{chain}\nprint('before')\nf0()"})

    lines = answer.content.split("\n")
    assert (lines[0], lines[1]) == ("before", "...")
    assert lines[-1].startswith("NameError: name 'f12' is not defined")
    assert (len(lines), answer.error) == (18, "python_error")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", 'File "<python>", line 1'),
        ("def", "SyntaxError"),
        ("input()", "EOFError"),
        ("raise SystemExit('bye')", "bye"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "E"),
    ],
)
async def test_a_failure_is_the_codes_own(python: PythonTool, code: str, words: str) -> None:
    answer = await python.call({"code": code})

    assert words in answer.content
    assert answer.error == "python_error"
    assert "qwq_env" not in answer.content


async def test_a_slow_step_is_interrupted_and_keeps_its_names(python: PythonTool) -> None:
    await run(python, "x = 5")
    answer = await python.call({"code": "x = 6\nwhile True:\n    pass"})

    assert answer.error == "timeout"
    assert "[stopped at line" in answer.content
    # Where other processes want the cores, its wall time is over before its CPU time.
    assert re.search(r"longer than [24] seconds; variables are kept\]", answer.content)
    assert await run(python, "x") == "6"


def test_a_slow_step_is_interrupted_before_the_call_is_given_up() -> None:
    """An interpreter that does not heed the interrupt is killed a second later."""
    for backend in ("sandbox", "subprocess"):
        assert PythonTool(backend=backend).limits.wall_seconds + 1 < ToolLimits().seconds


async def test_waiting_is_told_as_the_wall_time_that_it_was(python: PythonTool) -> None:
    answer = await python.call({"code": "import time\ntime.sleep(60)"})

    assert f"longer than {python.limits.wall_seconds:g} seconds" in answer.content


async def test_a_step_that_will_not_stop_loses_its_names(python: PythonTool) -> None:
    await run(python, "x = 5")
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except BaseException: 0"
    )
    answer = await python.call({"code": stubborn})

    assert answer.error == "timeout"
    assert "all variables are lost" in answer.content
    assert "NameError: name 'x' is not defined" in await run(python, "x")


@pytest.mark.parametrize("code", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)"])
async def test_the_death_of_the_interpreter_is_told(python: PythonTool, code: str) -> None:
    answer = await python.call({"code": code})

    assert "all variables are lost" in answer.content
    assert answer.error in ("python_error", "crash")
    assert await run(python, "1 + 1") == "2"


async def test_memory_is_bounded(python: PythonTool) -> None:
    answer = await python.call({"code": "x = [0] * 10**10"})

    assert answer.error == "memory"
    assert answer.content.endswith("[out of memory: at most 256 MB; variables are kept]")


async def test_a_flood_is_stopped(python: PythonTool) -> None:
    answer = await python.call({"code": "while True: print('x' * 1000)"})

    assert answer.error == "output"
    assert "[stopped: too much output" in answer.content
    assert len(answer.content) < 70_000


async def test_a_long_output_is_cut(python: PythonTool) -> None:
    answer = await python.call({"code": "print('x' * 100_000)"})

    assert answer.error == ""
    assert answer.content.endswith("[stdout cut after 65536 bytes]")


async def test_what_cannot_be_code_is_refused(python: PythonTool) -> None:
    for code in ("x = '\ud800'", "x = '\0'"):
        with pytest.raises(ToolError, match="write it as an escape"):
            await python.call({"code": code})

    assert await run(python, "'é😀'") == "'é😀'"


async def test_random_numbers_come_from_the_seed(python: PythonTool) -> None:
    draw = "import random; random.random()"
    again = python.for_episode(TASK, 7)
    other = python.for_episode(TASK, 8)

    first = await run(python, draw)
    assert await run(again, draw) == first
    assert await run(other, draw) != first
    await again.aclose()
    await other.aclose()


async def test_calls_of_a_turn_run_in_order(python: PythonTool) -> None:
    box = Toolbox([python])
    codes = ["x = 1", "x += 1; x", "x * 10", "1/0", "x"]
    results = await box.run([ToolCall("python", {"code": code}) for code in codes])
    await box.aclose()

    assert [result.content for result in results][1:3] == ["2", "20"]
    assert [result.kind for result in results] == ["", "", "", "python_error", ""]


async def test_a_call_given_up_says_so_in_the_next(python: PythonTool) -> None:
    box = Toolbox([python], limits=ToolLimits(seconds=20))
    await box.run([ToolCall("python", {"code": "x = 1"})])
    turn = asyncio.create_task(
        box.run([ToolCall("python", {"code": "import time; time.sleep(60)"})])
    )
    await asyncio.sleep(0.2)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn

    (result,) = await box.run([ToolCall("python", {"code": "print('alive')"})])
    await box.aclose()

    assert "earlier variables are lost" in result.content
    assert result.content.endswith("alive")


async def test_an_open_interpreter_does_not_stop_pickling(python: PythonTool) -> None:
    await run(python, "x = 1")
    copy = pickle.loads(pickle.dumps(python))

    assert await run(copy, "2") == "2"
    await copy.aclose()
    assert await run(python, "x") == "1"


def test_each_loop_may_have_its_own_episode(backend: Backend) -> None:
    base = PythonTool(backend=backend)

    async def episode(seed: int) -> str:
        tool = base.for_episode(TASK, seed)
        try:
            return await run(tool, f"{seed} * 2")
        finally:
            await tool.aclose()

    assert [asyncio.run(episode(seed)) for seed in range(3)] == ["0", "2", "4"]


async def test_a_subprocess_leaves_nothing_behind() -> None:
    tool = PythonTool(backend="subprocess", seconds=5)
    code = """
import os, subprocess
folder = os.getcwd()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import time; time.sleep(1000)
    os._exit(0)
escaped = subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
print(os.getpid(), escaped, folder)
"""
    pid, escaped, folder = (await run(tool, code)).split()
    guard = psutil.Process(int(pid)).parent()
    assert guard is not None
    family = [guard, *guard.children(recursive=True)]
    assert int(escaped) in [process.pid for process in family]
    assert len(family) >= 4
    await tool.aclose()

    assert not [process for process in family if process.is_running()]
    assert not Path(folder).exists()


async def test_a_subprocess_mends_streams_that_were_closed() -> None:
    tool = PythonTool(backend="subprocess")
    await run(tool, "import sys; sys.stdout.close(); sys.stderr = None")
    answers = [await run(tool, "print('seen')"), await run(tool, "1 / 0")]
    await tool.aclose()

    assert answers[0] == "seen"
    assert answers[1].endswith("ZeroDivisionError: division by zero")


async def test_a_subprocess_has_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    tool = PythonTool(backend="subprocess")
    seen = await run(tool, "import os; print(sorted(os.environ), os.listdir())")
    await tool.aclose()

    assert seen == "['LANG', 'PYTHONHASHSEED', 'PYTHONIOENCODING'] []"


@pytest.mark.usefixtures("needs_sandbox")
async def test_a_session_forgotten_is_closed() -> None:
    tool = PythonTool()
    pid = int(await run(tool, "import os; x = 1; 1"))
    assert pid == 1
    session = tool._session._inner  # type: ignore[union-attr]
    del tool
    gc.collect()
    for _ in range(100):
        if session._closed:
            break
        await asyncio.sleep(0.05)

    assert session._closed


@pytest.mark.usefixtures("needs_sandbox")
async def test_a_sandbox_of_ones_own() -> None:
    async with LocalSandbox(slots=1, preload=()) as sandbox:
        tool = PythonTool(sandbox=sandbox).for_episode(TASK, 0)
        assert await run(tool, "1 + 1") == "2"
        await tool.aclose()


class BrokenSession(SandboxSession):
    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        return ExecutionResult("infra", stderr="the slot is gone")

    async def aclose(self) -> None:
        pass


class BrokenSandbox(LocalSandbox):
    async def open_session(self, *, limits: Limits = Limits()) -> SandboxSession:  # type: ignore[override]  # noqa: B008
        return BrokenSession()


async def test_a_broken_sandbox_is_not_the_models_fault() -> None:
    broken: Sandbox = BrokenSandbox()

    with pytest.raises(InfrastructureError, match="the slot is gone"):
        await PythonTool(sandbox=broken).call({"code": "1"})


@pytest.mark.parametrize("code", ["", " \n", "x = '\0'", "#" * (5 << 20)])
async def test_what_cannot_be_run_is_told_to_the_model(code: str) -> None:
    with pytest.raises(ToolError, match="the code"):
        await PythonTool(backend="subprocess").call({"code": code})


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'subprocess'"):
        PythonTool(backend="subproces")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"limits\.cpu_seconds: 0"):
        PythonTool(seconds=0)
    with pytest.raises(UsageError, match="given together"):
        PythonTool(backend="subprocess", sandbox=LocalSandbox())


def test_the_answer_carries_measurements() -> None:
    async def once() -> ToolResult:
        tool = PythonTool(backend="subprocess")
        answer = await tool.call({"code": "1"})
        await tool.aclose()
        return answer

    answer = asyncio.run(once())

    assert answer.metadata["status"] == "ok"
    assert answer.metadata["peak_memory_bytes"] > 1_000_000
