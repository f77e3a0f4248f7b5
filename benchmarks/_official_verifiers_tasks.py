"""The calculator task as a taskset of verifiers 0.4, its tool server shared by all rollouts."""

from __future__ import annotations

from collections.abc import Iterable

import verifiers.v1 as vf


class CalculatorToolset(vf.Toolset[vf.SharedToolsetConfig, vf.State]):
    """One tool, as cheap as a tool can be."""

    TOOL_PREFIX = None

    @vf.tool
    def calculator(self, expression: str) -> str:
        """Evaluate a sum of two whole numbers."""
        left, right = expression.split("+")
        return str(int(left) + int(right))


class CalculatorData(vf.TaskData):
    """A sum and its value."""

    answer: str


class CalculatorTask(vf.Task[CalculatorData, vf.State, vf.TaskConfig]):
    """Paid 1 for the boxed value."""

    @vf.reward
    async def correct(self, trace: vf.Trace) -> float:
        """Look for the value in the last reply."""
        last = trace.assistant_messages[-1]
        return float(f"\\boxed{{{self.data.answer}}}" in str(last.content))


class CalculatorTaskset(vf.Taskset[CalculatorTask, vf.TasksetConfig]):
    """As many sums as are asked for."""

    INFINITE = True

    def load(self) -> Iterable[CalculatorTask]:
        """Yield the tasks."""
        number = 0
        while True:
            data = CalculatorData(
                prompt=f"What is {number}+7?", answer=str(number + 7), name=f"sum-{number}"
            )
            yield CalculatorTask(data, self.config.task)
            number += 1

    @classmethod
    def toolsets(cls, config: vf.TasksetConfig) -> list[vf.Toolset]:
        """One server for all rollouts: the cheaper of their two ways."""
        return [CalculatorToolset(vf.SharedToolsetConfig())]


__all__ = ["CalculatorTaskset"]

if __name__ == "__main__":
    CalculatorToolset.run()
