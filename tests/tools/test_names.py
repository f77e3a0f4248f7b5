from __future__ import annotations

import subprocess
import sys

import pytest

from qwq_env.errors import UsageError
from qwq_env.tools import TOOLS, make_tool
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
