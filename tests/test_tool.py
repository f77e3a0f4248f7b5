from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import Any

import pytest

from qwq_env.errors import UsageError
from qwq_env.tool import Tool, ToolResult, tool
from qwq_env.toolbox import Toolbox


@tool
def population(city: str, year: int = 2024) -> str:
    """Look up how many people live in a city.

    Args:
        city: The city's name in English.
        year: The year asked for.
    """
    return f"{city} {year}"


def test_a_function_is_a_tool_and_still_a_function() -> None:
    assert population("Rome", year=1900) == "Rome 1900"
    assert population.schema() == {
        "type": "function",
        "function": {
            "name": "population",
            "description": "Look up how many people live in a city.",
            "parameters": population.parameters,
        },
    }
    assert asyncio.run(population.call({"city": "Rome"})) == "Rome 2024"


def test_an_asynchronous_function_and_another_name() -> None:
    @tool(name="wait")
    async def wait_briefly(seconds: float) -> ToolResult:
        """Wait."""
        await asyncio.sleep(seconds)
        return ToolResult("waited", {"seconds": seconds})

    assert wait_briefly.name == "wait"
    assert asyncio.run(wait_briefly.call({"seconds": 0})) == ToolResult("waited", {"seconds": 0})


async def test_a_blocking_function_does_not_stall_the_others() -> None:
    gate = threading.Event()

    @tool
    def blocked() -> str:
        """Wait for the gate."""
        return str(gate.wait(30))

    waiting = [asyncio.create_task(blocked.call({})) for _ in range(50)]
    await asyncio.sleep(0)
    gate.set()

    assert await asyncio.gather(*waiting) == ["True"] * 50


async def test_a_function_that_need_not_wait_runs_in_place() -> None:
    @tool(blocking=False)
    def here() -> str:
        """Say which thread this is."""
        return threading.current_thread().name

    assert await here.call({}) == threading.current_thread().name


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_asynchronous_function_behind_a_plain_one_is_awaited(blocking: bool) -> None:
    async def answer() -> str:
        return "answered"

    @tool(blocking=blocking)
    def hidden() -> Any:
        """Answer."""
        return answer()

    assert await hidden.call({}) == "answered"


async def test_context_reaches_the_thread() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    @tool
    def read() -> str:
        """Read the variable."""
        return variable.get()

    assert await read.call({}) == "set"


async def test_what_a_function_raises_arrives() -> None:
    @tool
    def fails(kind: str) -> str:
        """Raise."""
        raise {"stop": StopIteration, "value": ValueError}[kind]("told")

    with pytest.raises(ValueError, match="told"):
        await fails.call({"kind": "value"})
    with pytest.raises(RuntimeError, match="StopIteration: told"):
        await fails.call({"kind": "stop"})


def test_a_function_that_never_returns_does_not_hold_up_the_end() -> None:
    program = """
import asyncio, time
from qwq_env.tool import tool
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import ToolCall

@tool
def forever() -> str:
    "Never return."
    time.sleep(1000)
    return ""

box = Toolbox([forever], limits=ToolLimits(seconds=0.05))
results = asyncio.run(box.run([ToolCall("forever", {})] * 40))
print({result.kind for result in results})
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"{'timeout'}\n", b"")


def silent(x: int) -> int:
    return x


def only_sections(x: int) -> int:
    """
    Args:
        x: A number.
    """
    return x


@pytest.mark.parametrize("function", [silent, only_sections, lambda: 1])
def test_a_function_that_says_nothing_of_itself_is_refused(function: Any) -> None:
    with pytest.raises(UsageError, match=r"^tool .*: no description; say in its docstring"):
        tool(function)


@pytest.mark.parametrize("description", ["", " \n", None])
def test_a_tool_that_says_nothing_of_itself_is_refused(description: Any) -> None:
    class Silent(Tool):
        name, parameters = "silent", {"type": "object"}

        async def call(self, arguments: Any) -> str:
            return ""

    Silent.description = description

    with pytest.raises(UsageError, match=r"^tool silent: description: .*tells the model what"):
        Toolbox([Silent()])


def test_a_tool_without_call_is_not_one() -> None:
    class Half(Tool):
        name = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
