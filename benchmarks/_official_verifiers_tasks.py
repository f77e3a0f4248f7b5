"""The calculator task as a taskset of verifiers 0.4, and a harness that plays it in-process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import aiohttp
import verifiers.v1 as vf
from verifiers.v1.clients import ModelContext
from verifiers.v1.configs.harness import HarnessConfig
from verifiers.v1.harness import Harness
from verifiers.v1.runtimes import ProgramResult, Runtime


def calculate(expression: str) -> str:
    """Evaluate a sum of two whole numbers."""
    left, right = expression.split("+")
    return str(int(left) + int(right))


class CalculatorToolset(vf.Toolset[vf.SharedToolsetConfig, vf.State]):
    """One tool, as cheap as a tool can be."""

    TOOL_PREFIX = None

    @vf.tool
    def calculator(self, expression: str) -> str:
        """Evaluate a sum of two whole numbers."""
        return calculate(expression)


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


class CalculatorConfig(vf.TasksetConfig):
    """Whether the tool has a server."""

    served: bool = True


class CalculatorTaskset(vf.Taskset[CalculatorTask, CalculatorConfig]):
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
    def toolsets(cls, config: CalculatorConfig) -> list[vf.Toolset]:
        """One server for all rollouts: the cheaper of their two ways."""
        return [CalculatorToolset(vf.SharedToolsetConfig())] if config.served else []


TOOL = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Evaluate a sum of two whole numbers.",
        "parameters": {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
        },
    },
}


class LoopHarness(Harness[HarnessConfig]):
    """The chat loop with its tool in this process; all rollouts share one HTTP session."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False
    http: aiohttp.ClientSession | None = None

    async def launch(
        self,
        ctx: ModelContext,
        trace: vf.Trace,
        runtime: Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> ProgramResult:
        """Ask the model and call the tool until it calls no more."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": data.prompt}]
        while True:
            message = await self._ask(endpoint, secret, ctx.model, messages)
            messages.append(message)
            if not message.get("tool_calls"):
                return ProgramResult(exit_code=0, stdout="", stderr="")
            for call in message["tool_calls"]:
                content = calculate(**json.loads(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})

    async def _ask(self, endpoint: str, secret: str, model: str, messages: list[Any]) -> Any:
        # There is a harness for each rollout.
        LoopHarness.http = LoopHarness.http or aiohttp.ClientSession()
        body = {"model": model, "messages": messages, "tools": [TOOL]}
        headers = {"Authorization": f"Bearer {secret}"}
        url = f"{endpoint}/chat/completions"
        async with LoopHarness.http.post(url, json=body, headers=headers) as response:
            response.raise_for_status()
            return (await response.json())["choices"][0]["message"]


__all__ = ["CalculatorTaskset", "LoopHarness"]

if __name__ == "__main__":
    CalculatorToolset.run()
