"""Run a turn's requests on an episode's tools: side by side, bounded, answered in order.

`Toolbox.run` is the only way to a tool. It checks the name and the arguments, gives each call
a deadline and its output a cap, runs the calls of a turn concurrently, and turns whatever goes
wrong into a `CallResult` that the model can act on. One bad call never costs the good ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qwq_env.errors import InfrastructureError, ToolError, UsageError, did_you_mean
from qwq_env.schema import check_arguments
from qwq_env.tool import Tool, ToolResult
from qwq_env.truncation import Tokenizer, cut_characters, cut_tokens
from qwq_env.turn import CallResult, MalformedCall, ToolCall


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Bounds on one call: wall `seconds`, and its output in `characters` and `tokens`.

    `argument_characters` bounds what a call may carry in. `tokens` needs a tokenizer.
    """

    seconds: float = 30.0
    characters: int = 8_000
    tokens: int | None = None
    argument_characters: int = 200_000

    def __post_init__(self) -> None:
        for name in ("seconds", "characters", "tokens", "argument_characters"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"tool limit {name}: {value!r}; expected a number above 0")


class Toolbox:
    """The tools of one episode. Make one for each episode, and close it at the end.

    `counts` tallies every request by outcome: `ok`, and each error's kind.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        *,
        seed: int = 0,
        limits: ToolLimits | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.limits = limits or ToolLimits()
        if self.limits.tokens is not None and tokenizer is None:
            raise UsageError("tool limit tokens: needs a tokenizer to count with; none was given")
        self.counts: Counter[str] = Counter()
        self._tokenizer = tokenizer
        self._tools = {tool.name: tool.for_episode(seed) for tool in tools}
        if len(self._tools) != len(tools):
            names = [tool.name for tool in tools]
            raise UsageError(f"tools: two of them share a name: {', '.join(sorted(names))}")

    async def run(self, requests: Sequence[ToolCall | MalformedCall]) -> list[CallResult]:
        """Run all requests concurrently; the results stand in the order of the requests.

        Raises `InfrastructureError` when a tool's machinery failed; the other calls of the
        turn are then cancelled, for the episode cannot go on.
        """
        if len(requests) == 1:
            results = [await self._run_one(requests[0])]
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._run_one(request)) for request in requests]
            except* InfrastructureError as failures:
                raise failures.exceptions[0] from None
            results = [task.result() for task in tasks]
        self.counts.update(result.kind or "ok" for result in results)
        return results

    async def aclose(self) -> None:
        """Close every tool, also when closing one of them fails."""
        async with contextlib.AsyncExitStack() as stack:
            for tool in self._tools.values():
                stack.push_async_callback(tool.aclose)
            self._tools = {}

    async def _run_one(self, request: ToolCall | MalformedCall) -> CallResult:
        if isinstance(request, MalformedCall):
            return _policy_error("", request.kind, request.message)
        tool = self._tools.get(request.name)
        if tool is None:
            hint = did_you_mean(request.name[:100], self._tools)
            known = ", ".join(self._tools) or "none"
            message = f"no tool named {request.name[:100]!r}{hint}; tools: {known}"
            return _policy_error(request.name[:100], "unknown_tool", message)
        arguments, problem = check_arguments(tool.parameters, request.arguments)
        if problem is not None:
            return _policy_error(tool.name, problem.kind, problem.message)
        size = _size(arguments)
        if size > self.limits.argument_characters:
            message = f"arguments of {size} characters; at most {self.limits.argument_characters}"
            return _policy_error(tool.name, "arguments_too_long", message)
        return await self._call(tool, arguments)

    async def _call(self, tool: Tool, arguments: dict[str, Any]) -> CallResult:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.seconds) as deadline:
                answer = await tool.call(arguments)
        except ToolError as error:
            return self._failed(tool, "tool_error", f"Error: {error}", start)
        except InfrastructureError:
            raise
        except TimeoutError:
            late = f"Error: no answer within {self.limits.seconds:g} seconds"
            message = late if deadline.expired() else "Error: TimeoutError"
            return self._failed(tool, "timeout", message, start)
        except Exception as error:  # noqa: BLE001 - the boundary to foreign tool code
            return self._failed(tool, "crash", f"Error: {type(error).__name__}: {error}", start)
        result = answer if isinstance(answer, ToolResult) else ToolResult(str(answer))
        content, cut = self._cap(result.content)
        seconds = time.perf_counter() - start
        return CallResult(tool.name, content, "ok", "", seconds, cut, result.metadata)

    def _failed(self, tool: Tool, kind: str, message: str, start: float) -> CallResult:
        content, cut = self._cap(message)
        seconds = time.perf_counter() - start
        return CallResult(tool.name, content, "tool_error", kind, seconds, cut)

    def _cap(self, content: str) -> tuple[str, int]:
        # Unpaired surrogates cannot be encoded for any tokenizer.
        content = content.encode("utf-8", "replace").decode("utf-8")
        shorter, cut = cut_characters(content, self.limits.characters)
        if self.limits.tokens is not None and self._tokenizer is not None:
            shorter, more = cut_tokens(shorter, self.limits.tokens, self._tokenizer)
            cut += more
        return shorter, cut


def _policy_error(name: str, kind: str, message: str) -> CallResult:
    return CallResult(name, f"Error: {message}", "policy_error", kind)


def _size(arguments: dict[str, Any]) -> int:
    size = 0
    for value in arguments.values():
        size += len(value) if isinstance(value, str) else len(json.dumps(value))
    return size
