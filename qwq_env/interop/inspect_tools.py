"""Our tools as tools of Inspect.

```python
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

from qwq_env.interop.inspect_tools import with_tools
from qwq_env.tools import Calculator

task = Task(
    dataset=[Sample("What is 12 * 34?", target="408")],
    solver=with_tools([Calculator()]),
    scorer=includes(),
)
```

Each sample has a `Toolbox` of its own: deadlines, output caps and the checks of arguments hold, and
what its tools keep is seen by no other. What the model can mend is Inspect's `ToolError`; machinery
that failed ends the sample as an error, which Inspect can try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwq_env.checked_tools import ToolLike, checked_tools
from qwq_env.interop.extra import extra
from qwq_env.task import Task
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox, ToolLimits
from qwq_env.turn import ToolCall

with extra("inspect"):
    from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
    from inspect_ai.tool import Tool as InspectTool
    from inspect_ai.tool import ToolDef, ToolError, ToolParams


def inspect_tools(toolbox: Toolbox, tools: Sequence[ToolLike]) -> list[InspectTool]:
    """Return `tools`, those of a started toolbox, as Inspect's; it stays its owner's to close.

    Of a schema, Inspect keeps what its own form knows; arguments are checked against the whole.
    """
    return [_tool(toolbox, each) for each in checked_tools(tools)]


@solver  # type: ignore[untyped-decorator]  # its package is read without types
def with_tools(
    tools: Sequence[ToolLike],
    then: Solver | None = None,
    *,
    limits: ToolLimits | None = None,
    seed: int = 0,
) -> Solver:
    """Return a solver that gives a sample these tools and lets `then` solve it.

    Without `then`, the model is asked until it makes no more calls. A tool set's `start` gets the
    sample as a task: its id, its input as the prompt, its metadata.
    """
    checked = checked_tools(tools)

    async def solve(state: TaskState, ask: Generate) -> TaskState:
        task = Task(str(state.sample_id), state.input_text, None, metadata=state.metadata)
        toolbox = Toolbox(checked, task=task, seed=seed, limits=limits)
        try:
            await toolbox.start()
            state.tools = [*state.tools, *inspect_tools(toolbox, checked)]
            return await (then or generate(tool_calls="loop"))(state, ask)
        finally:
            await toolbox.aclose()

    return solve


def _tool(toolbox: Toolbox, tool: Tool) -> InspectTool:
    async def execute(**kwargs: Any) -> str:
        [result] = await toolbox.run([ToolCall(tool.name, kwargs)])
        if result.status != "ok":
            raise ToolError(result.content)
        return result.content

    parameters = ToolParams.model_validate(dict(tool.parameters))
    definition = ToolDef(
        execute, name=tool.name, description=tool.description, parameters=parameters,
        parallel=True, max_output=0,
    )  # fmt: skip
    return definition.as_tool()
