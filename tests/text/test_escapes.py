from __future__ import annotations

import json

import pytest

from qwq_env.dialect.fenced import FencedDialect
from qwq_env.dialect.qwq import QwqDialect
from qwq_env.dialect.react import ReactDialect
from qwq_env.tool import tool
from qwq_env.toolbox import Toolbox
from qwq_env.tools.calculator import Calculator
from qwq_env.turn import ToolCall


@tool(blocking=False)
def python(code: str) -> str:
    """Compile a program."""
    compile(code, "program", "exec")
    return "done"


async def told(request: object) -> str:
    (result,) = await Toolbox([Calculator(), python]).run([request])  # type: ignore[list-item]
    return result.content


@pytest.mark.parametrize(
    "command",
    ["frac{1}{2}", "times 3", "binom{4}{2}", "theta", "rho", "neq 2", "beta", "nu", "right)"],
)
@pytest.mark.parametrize("dialect", [QwqDialect(), ReactDialect()])
async def test_a_command_that_lost_its_backslash_is_told(
    command: str, dialect: QwqDialect | ReactDialect
) -> None:
    written = f'{{"expression": "2 \\{command}"}}'
    text = (
        f'<tool_call>{{"name": "calculator", "arguments": {written}}}</tool_call>'
        if isinstance(dialect, QwqDialect)
        else f"Action: calculator\nAction Input: {written}"
    )
    (call,) = dialect.parse(text).calls

    content = await told(call)

    assert content.startswith("Error: ")
    assert f"\\{command[:3]}" in content and "write two of them" in content


@pytest.mark.parametrize(
    ("code", "noted"),
    [
        ("label = '\theta'", True),
        ("label = '\x0crac'", True),
        ("if x:\n\ttext = 1", False),
        ("if x:\n\text = 1", False),
        ("a = 1\nu = 2", False),
        ("a = '\\theta'", False),
        ("a = 'to\there'", False),
        ("label = (\n\theta", True),
        ("2 \neq (", True),
        ("a = 1\nb = 2\nu = (", False),
        ("if x:\n\text = (\n", False),
    ],
)
async def test_a_program_is_told_unless_it_ran_and_may_be_meant_so(code: str, noted: bool) -> None:
    content = await told(ToolCall("python", {"code": code}))

    assert ("Note: in 'code'" in content) == noted


async def test_what_was_written_with_two_backslashes_or_as_it_is_has_lost_nothing() -> None:
    raw = json.dumps({"name": "python", "arguments": {"code": "a = '\\\\theta' ("}})
    (doubled,) = QwqDialect().parse(f"<tool_call>{raw}</tool_call>").calls
    (verbatim,) = FencedDialect().parse("```python\nx = (\n\theta\n```\n").calls

    assert "Note" not in await told(doubled)
    assert "Note" not in await told(verbatim)
