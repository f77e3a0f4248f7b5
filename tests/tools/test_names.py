from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.tools import TOOLS, make_tool, make_tools
from qwq_env.tools.calculator import Calculator


@pytest.mark.parametrize("name", ["calculator", "python"])
def test_a_tool_is_made_by_name(name: str) -> None:
    assert make_tool(name).name == name


def test_a_tool_is_taken_as_it_is() -> None:
    calculator = Calculator()

    assert make_tool(calculator) is calculator


def test_a_wrong_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'calculator'"):
        make_tool("calculater")
    with pytest.raises(UsageError, match="neither a Tool nor a name"):
        make_tool(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("tools", ["calculator", Calculator(), None, 3, {"calculator"}])
def test_what_is_no_list_of_tools_is_refused(tools: Any) -> None:
    with pytest.raises(UsageError, match=r"^tools: .*; expected a list"):
        make_tools(tools)


def test_one_name_in_place_of_a_list_is_refused_in_an_environment() -> None:
    with pytest.raises(UsageError, match=r"tools: 'calculator' alone; .* \['calculator'\]"):
        MathToolEnv(tools="calculator")


def test_search_must_be_told_where() -> None:
    with pytest.raises(UsageError, match="backend: none given"):
        make_tool("search")


@pytest.mark.parametrize("name", TOOLS)
def test_making_a_tool_loads_nothing_heavy(name: str) -> None:
    heavy = ["torch", "transformers", "sympy", "tantivy", "jsonschema", "mcp", "httpx"]
    program = f"""
import sys
from qwq_env.errors import UsageError
from qwq_env.tools import make_tool
try:
    make_tool({name!r})
except UsageError:
    pass
print([module for module in {heavy!r} if module in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")
