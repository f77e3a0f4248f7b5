"""Calls on a solution: values come back plain, and each call fails for itself."""

import pytest

from qwq_env.errors import UsageError
from qwq_env.sandbox import Limits

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS = Limits(cpu_seconds=2, wall_seconds=4)


async def test_values_come_back_with_their_types(bare):
    code = "def f(x):\n    return [x, (x,), {x}, {x: None}, True, 1.5, b'b', 10**30]"

    (result,) = await bare.call(code, "f", [["a"]])

    assert result.ok
    assert result.value == ["a", ("a",), {"a"}, {"a": None}, True, 1.5, b"b", 10**30]
    assert [type(item) for item in result.value[1:4]] == [tuple, set, dict]


async def test_a_method_of_a_class_is_called_on_a_new_object(bare):
    code = (
        "class Solution:\n"
        "    seen = 0\n"
        "    def count(self):\n"
        "        self.seen += 1\n"
        "        return self.seen\n"
    )

    results = await bare.call(code, "Solution.count", [[], [], []])

    assert [result.value for result in results] == [1, 1, 1]


async def test_each_call_fails_for_itself(bare):
    code = (
        "import os, time\n"
        "def f(x):\n"
        "    if x == 1: return object()\n"
        "    if x == 2: os._exit(0)\n"
        "    if x == 3: time.sleep(60)\n"
        "    if x == 4: raise ValueError('four')\n"
        "    if x == 5: return bytearray(10**9)\n"
        "    print('x' * 100_000)\n"
        "    return x\n"
    )

    results = await bare.call(code, "f", [[x] for x in range(7)], limits=LIMITS)

    statuses = [result.status for result in results]
    assert statuses == ["ok", "unsupported", "error", "timeout", "error", "memory", "ok"]
    assert results[4].error == "ValueError: four"
    assert results[6].value == 6


async def test_arguments_arrive_with_their_types(bare):
    arguments = [[[1, (2, 3)], {"k": {1, 2}}, None]]

    (result,) = await bare.call("def f(*a):\n    return repr(a)", "f", arguments)

    assert result.value == repr(tuple(arguments[0]))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1 / 0", "error"),
        ("def", "error"),
        ("def f(x): return x\nraise SystemExit", "error"),
        ("while True: pass", "timeout"),
        ("import ctypes; ctypes.string_at(0)", "killed"),
    ],
)
async def test_a_solution_that_does_not_load_fails_every_call(bare, code, status):
    results = await bare.call(code, "f", [[1], [2]], limits=LIMITS)

    assert [result.status for result in results] == [status, status]
    assert all("while loading" in result.error for result in results)


async def test_a_missing_function_is_an_error(bare):
    (result,) = await bare.call("def g(): pass", "f", [[]])

    assert result.status == "error"
    assert "'f'" in result.error


async def test_no_calls_no_results(bare):
    assert await bare.call("def f(): pass", "f", []) == []


@pytest.mark.parametrize("name", ["", "f()", "a b", "__import__('os')", "f."])
async def test_what_is_no_name_is_refused(bare, name):
    with pytest.raises(UsageError, match=r"^function: "):
        await bare.call("def f(): pass", name, [[]])


@pytest.mark.parametrize("name", [None, 5, ["f"]])
async def test_a_function_is_named_by_a_text(bare, name):
    with pytest.raises(UsageError, match=r"^function: "):
        await bare.call("def f(): pass", name, [[]])


@pytest.mark.parametrize("arguments", [None, 5, "ab", {"a": 1}, [5], ["ab"], [None], [{"a": 1}]])
async def test_arguments_that_are_no_lists_are_refused(bare, arguments):
    with pytest.raises(UsageError, match=r"^arguments") as refusal:
        await bare.call("def f(x): return x", "f", arguments)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("limits", [None, {"wall_seconds": 1}, 5])
async def test_limits_are_limits(bare, limits):
    for use in (
        bare.call("def f(): pass", "f", [[]], limits=limits),
        bare.run("1", limits=limits),
        bare.open_session(limits=limits),
    ):
        with pytest.raises(UsageError, match=r"^limits: "):
            await use


async def test_arguments_that_are_not_plain_are_refused(bare):
    with pytest.raises(UsageError, match=r"^arguments\[1\]: "):
        await bare.call("def f(x): pass", "f", [[1], [object()]])


async def test_the_time_of_loading_is_the_solutions_own(bare):
    """Not that of a busy caller, and not counted by wall where it computes."""
    limits = Limits(cpu_seconds=1, wall_seconds=60)

    (result,) = await bare.call("while True: pass", "f", [[1]], limits=limits)

    assert result.status == "timeout"
    assert result.wall_seconds < 50
