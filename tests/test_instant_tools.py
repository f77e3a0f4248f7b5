"""Tools that answer at once are called without a task and a timer; all else is the same."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.errors import InfrastructureError, ToolError
from qwq_env.tool import ToolResult, tool
from qwq_env.toolbox import Toolbox
from qwq_env.tools.calculator import Calculator
from qwq_env.turn import MalformedCall, ToolCall


@tool(blocking=False)
def double(number: int) -> str:
    """Double it."""
    return str(2 * number)


@tool(blocking=False)
def fail(how: str) -> ToolResult:
    """Fail."""
    if how == "mine":
        raise ToolError("not like this")
    if how == "ours":
        raise InfrastructureError("no server")
    if how == "exit":
        raise SystemExit(3)
    if how == "cancel":
        raise asyncio.CancelledError
    if how == "told":
        return ToolResult("no", error="refused")
    raise ValueError("broken")


@tool
async def slow() -> str:
    """Take a while."""
    await asyncio.sleep(0.01)
    return "slow"


def test_which_tools_are_instant():
    @tool
    def threaded() -> str:
        """Run in a thread."""
        return ""

    assert double.instant
    assert Calculator().instant
    assert not slow.instant
    assert not threaded.instant


@pytest.mark.parametrize(
    ("how", "kind", "content"),
    [
        ("mine", "tool_error", "Error: not like this"),
        ("other", "crash", "Error: ValueError: broken"),
        ("exit", "crash", "Error: RuntimeError: the tool tried to exit with status 3"),
        ("cancel", "crash", "Error: the tool cancelled itself"),
        ("told", "refused", "no"),
    ],
)
async def test_failures_are_those_of_any_tool(how, kind, content):
    [result] = await Toolbox([fail]).run([ToolCall("fail", {"how": how})])

    assert (result.status, result.kind, result.content) == ("tool_error", kind, content)


async def test_infrastructure_failure_is_raised_among_many():
    requests = [ToolCall("double", {"number": 1}), ToolCall("fail", {"how": "ours"})]

    with pytest.raises(InfrastructureError):
        await Toolbox([double, fail]).run(requests)


async def test_many_are_answered_in_order_beside_slow_and_bad_ones():
    requests = [
        ToolCall("double", {"number": 1}),
        MalformedCall("malformed_json", "no"),
        ToolCall("slow", {}),
        ToolCall("double", {"number": 2}),
        ToolCall("nothing", {}),
    ]
    toolbox = Toolbox([double, slow])
    results = await toolbox.run(requests)
    only_instant = await toolbox.run([requests[0], requests[1], requests[3]])

    assert [r.content for r in results][:1] + [r.content for r in results][2:4] == [
        "2",
        "slow",
        "4",
    ]
    assert [r.kind for r in results] == ["", "malformed_json", "", "", "unknown_tool"]
    assert [r.kind for r in only_instant] == ["", "malformed_json", ""]
    assert toolbox.counts == {"ok": 5, "malformed_json": 2, "unknown_tool": 1}


async def test_one_that_waits_after_all_can_still_be_given_up():
    class Liar(Calculator):
        async def call(self, arguments):
            await asyncio.sleep(60)
            return ""

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Toolbox([Liar()]).run([ToolCall("calculator", {"expression": "1"})])


async def test_no_task_is_made_for_them():
    tasks = len(asyncio.all_tasks())
    seen = []

    @tool(blocking=False)
    def look() -> str:
        """Count the tasks."""
        seen.append(len(asyncio.all_tasks()))
        return ""

    await Toolbox([look]).run([ToolCall("look", {}), ToolCall("look", {})])

    assert seen == [tasks, tasks]
