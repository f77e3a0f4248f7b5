"""Tests of the tool `template_tool`: `python -m pytest test_template_tool.py`."""

import asyncio

from qwq_env import CallResult, Tool, Toolbox, ToolCall, testing
from qwq_env.templates.template_tool import template_tool


class TestSound(testing.ToolConformance):
    """Bad arguments, deadlines, leaks: see its docstring."""

    def make(self) -> Tool:
        return template_tool


def call(**arguments: object) -> CallResult:
    """Call the tool as a model does."""
    wanted = ToolCall("template_tool", arguments)
    [result] = asyncio.run(Toolbox([template_tool]).run([wanted]))
    return result


def test_what_it_is_for() -> None:
    result = call(city="Lima")

    assert (result.status, result.content) == ("ok", "10.1 million")


def test_what_the_model_can_mend_is_told() -> None:
    assert "try Lima" in call(city="Atlantis").content
    assert "expected 0 to 3" in call(city="Lima", digits=9).content
    assert call(town="Lima").status == "policy_error"
