"""One-shots: what a program gets, and what the caller gets of it."""

import asyncio
import glob
import os
import re
import signal
from pathlib import Path

import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import Limits, LocalSandbox, SessionClosed
from qwq_env.sandbox.jail.zygote import ENVIRONMENT

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = Limits(cpu_seconds=0.3, wall_seconds=0.5)


async def test_output_value_and_exit_code(bare):
    result = await bare.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n40 + 2")

    assert (result.status, result.exit_code, result.signal) == ("ok", 0, None)
    assert (result.stdout, result.stderr, result.value) == ("out\n", "err\n", "42")
    assert result.wall_seconds > 0
    assert result.peak_memory_bytes > 1 << 20


async def test_an_exception_is_an_error_with_its_traceback(bare):
    result = await bare.run("def f():\n    return 1 / 0\n\nf()")

    assert (result.status, result.exit_code) == ("error", 1)
    assert "return 1 / 0" in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "qwq_env" not in result.stderr


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("import sys; sys.exit(5)", 5), ("import sys; sys.exit('no')", 1), ("raise SystemExit", 0)],
)
async def test_exit_codes(bare, code, exit_code):
    result = await bare.run(code)

    assert result.exit_code == exit_code
    assert result.status == ("error" if exit_code else "ok")


async def test_stdin_and_argv(bare):
    code = "import sys\nprint(sys.argv[1:], sys.stdin.read())"

    result = await bare.run(code, stdin="grüße".encode(), argv=["a", "b c"])

    assert result.stdout == "['a', 'b c'] grüße\n"


async def test_no_stdin_is_the_end_of_file(bare):
    assert (await bare.run("input()")).stderr.endswith("EOFError: EOF when reading a line\n")


async def test_main_guard_runs(bare):
    assert (await bare.run("if __name__ == '__main__':\n    print('main')")).stdout == "main\n"


@pytest.mark.parametrize("code", ["while True:\n    pass", "import time\ntime.sleep(60)"])
async def test_a_timeout_keeps_what_was_printed(bare, code):
    for seconds in (0.5, 1.5, 4.5):
        limits = Limits(cpu_seconds=seconds, wall_seconds=seconds)
        result = await bare.run("print('so far')\n" + code, limits=limits)
        if result.stdout:
            break  # on a busy machine a program may be killed before it has flushed

    assert (result.status, result.stdout) == ("timeout", "so far\n")


async def test_too_much_output_is_cut_and_far_too_much_is_stopped(bare):
    limits = Limits(output_bytes=1000)

    cut = await bare.run("print('x' * 2000)", limits=limits)
    stopped = await bare.run("while True:\n    print('x' * 1000)", limits=limits)

    assert (cut.status, cut.truncated, len(cut.stdout)) == ("ok", ("stdout",), 1000)
    assert (stopped.status, stopped.truncated, len(stopped.stdout)) == ("output", ("stdout",), 1000)


async def test_an_error_of_a_very_long_name_is_an_error(bare):
    result = await bare.run("raise type('E' * 200_000, (Exception,), {})")

    assert (result.status, result.exit_code) == ("error", 1)


async def test_death_by_signal(bare):
    result = await bare.run("import ctypes\nctypes.string_at(0)")

    assert (result.status, result.signal, result.exit_code) == ("killed", signal.SIGSEGV, None)


async def test_programs_share_nothing(bare):
    await bare.run("import builtins\nbuiltins.leak = 1\nopen('leak', 'w').close()")

    code = "import builtins, os\nprint(hasattr(builtins, 'leak'), os.listdir('.'))"
    results = await asyncio.gather(*(bare.run(code) for _ in range(4)))

    assert {result.stdout for result in results} == {"False []\n"}


@pytest.mark.parametrize(
    "code",
    [
        "import random\nrandom.random()",
        "import tempfile\nnext(tempfile._get_candidate_names())",
        "import uuid\nuuid.uuid4()",
    ],
)
async def test_random_numbers_differ_from_program_to_program(bare, code):
    results = await asyncio.gather(*(bare.run(code) for _ in range(8)))

    assert len({result.value for result in results}) == 8


async def test_iteration_order_of_sets_is_the_same_each_time(bare):
    code = "print(list({'alpha', 'beta', 'gamma', 'delta'}))"

    results = await asyncio.gather(*(bare.run(code) for _ in range(6)))

    assert len({result.stdout for result in results}) == 1


@pytest.mark.asyncio(loop_scope="function")
async def test_the_environment_holds_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    async with LocalSandbox(slots=1, preload=(), allow_unsafe=True) as sandbox:
        result = await sandbox.run("import os\nfor item in os.environ.items(): print(*item)")
        servers = [Path(f"/proc/{pid}") for pid in (sandbox.server_pid, *sandbox.slot_pids)]
        begun_with = [(server / "environ").read_bytes() for server in servers]

    scratch = re.search("^HOME (.*)$", result.stdout, re.MULTILINE)[1]
    expected = ENVIRONMENT | {"HOME": scratch, "TMPDIR": scratch}
    assert sorted(result.stdout.splitlines()) == sorted(map(" ".join, expected.items()))
    assert not any(b"secret" in environment for environment in begun_with)


async def test_many_callers_get_their_own_answers(bare):
    results = await asyncio.gather(*(bare.run(f"print({n} * 2)") for n in range(100)))

    assert [result.stdout for result in results] == [f"{2 * n}\n" for n in range(100)]


async def test_code_of_a_megabyte(bare):
    code = f"x = '{'a' * (3 << 20)}'\nlen(x)"

    assert (await bare.run(code)).value == str(3 << 20)


@pytest.mark.parametrize("code", [None, 5, b"\xff\xfe", "\ud800", ["print(1)"], "", b" \n\t"])
async def test_what_is_no_program_is_refused(bare, code):
    with pytest.raises(UsageError, match=r"^code: "):
        await bare.run(code)
    with pytest.raises(UsageError, match=r"^code: "):
        await bare.call(code, "f", [[1]])


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("6 * 7", "42"),
        ("x = 6\nx * 7  # the answer\n\n", "42"),
        ("x = 6; x * 7", "42"),
        ("if True:\n    x = 6\nx * 7", "42"),
        ("(6 *\n7)", "42"),
        ('s = """a\nb"""\nlen(s)', "3"),
        ('s = """a\nlen(s)"""', None),
        ("x = [6,\n7\n]", None),
        ("x = 6 + \\\n36", None),
        ("x = 6 + \\\n36\nx", "42"),
        ("x = 42\r\nx\r\n", "42"),
        ("# coding: latin-1\nlen('\u00e9')", "2"),
        ("*(1, 2), 3", "(1, 2, 3)"),
        ("def f():\n    return 1\nf()", "1"),
        ("print('x')", None),
        ("x = 1", None),
        ("\ufeff42", "42"),
        ("é = 42\né", "42"),
        ("def f(x: 1 + 1): pass\nf.__annotations__", "{'x': 2}"),
        (
            "from __future__ import annotations\ndef f(x: 1 + 1): pass\nf.__annotations__",
            "{'x': '1 + 1'}",
        ),
    ],
)
async def test_the_last_expression_is_the_value(bare, code, value):
    result = await bare.run(code)

    assert (result.status, result.value) == ("ok", value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\n\nx / 0", "line 3, in <module>\n    x / 0"),
        ("print('no')\nx = = 1\nx", "line 2\n    x = = 1"),
        ("print('no')\nreturn 1", "'return' outside function"),
        ("print('no')\nyield", "'yield' outside function"),
        ("if True:\n1", "expected an indented block"),
    ],
)
async def test_errors_are_those_of_python(bare, code, said):
    result = await bare.run(code)

    assert (result.status, result.stdout) == ("error", "")
    assert said in result.stderr


async def test_a_comment_is_a_program(bare):
    assert (await bare.run("# nothing to do")).status == "ok"


async def test_far_too_much_code_is_refused(bare):
    with pytest.raises(UsageError, match=r"^code: "):
        await bare.run("#" * 10_000_000)


@pytest.mark.parametrize("argv", [None, 5, "ab", [1], ["x" * 5000], [""] * 5000])
async def test_absurd_arguments_are_refused(bare, argv):
    with pytest.raises(UsageError, match=r"^argv: "):
        await bare.run("1", argv=argv)


async def test_broken_syntax_and_null_bytes_are_errors_of_the_program(bare):
    assert "SyntaxError" in (await bare.run("def")).stderr
    assert (await bare.run("x = '\0'")).status == "error"


async def test_a_cancelled_caller_leaves_a_working_sandbox(bare):
    tasks = [asyncio.create_task(bare.run("while True: pass")) for _ in range(6)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (await bare.run("print(1)")).stdout == "1\n"


async def test_preloaded_numpy_draws_anew():
    async with LocalSandbox(slots=1, preload=("numpy",), allow_unsafe=True) as sandbox:
        code = "import numpy\nnumpy.random.rand()"
        results = [await sandbox.run(code) for _ in range(4)]

    assert len({result.value for result in results}) == 4


async def test_after_the_end():
    sandbox = LocalSandbox(slots=1, preload=(), allow_unsafe=True)
    await sandbox.start()
    running = [asyncio.create_task(sandbox.run("import time\ntime.sleep(60)")) for _ in range(2)]
    await asyncio.sleep(0.1)
    await sandbox.aclose()
    await sandbox.aclose()

    for program in (*running, sandbox.run("1")):
        with pytest.raises(SessionClosed, match="sandbox: was closed"):
            await program


async def test_the_end_may_come_before_the_beginning_is_over():
    groups = own_groups()
    sandbox = LocalSandbox(slots=1, preload=())
    starting = asyncio.create_task(sandbox.run("1"))
    await asyncio.sleep(0.1)
    await sandbox.aclose()

    with pytest.raises(SessionClosed, match="sandbox: was closed"):
        await starting
    assert own_groups() == groups


def own_groups():
    # Unlike that of `Path`, this glob bears that others remove theirs meanwhile.
    own = f"/sys/fs/cgroup/**/qwq-sandbox-{os.getpid()}-*"
    return set(glob.glob(own, recursive=True))  # noqa: PTH207


async def test_nothing_is_left_of_a_closed_sandbox():
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    async with LocalSandbox(slots=2, preload=(), allow_unsafe=True) as sandbox:
        await sandbox.run("open('x', 'w').write('y')")
        session = await sandbox.open_session()
        await session.run("x = 1")

    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
