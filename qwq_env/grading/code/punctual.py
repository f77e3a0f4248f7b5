"""A sandbox in which nobody is late by our load: CPU time decides, wall time is the safety net.

A program that sleeps runs into its wall limit, and so does one that shares a processor with too
many others. The first is the policy's doing and wrong; the second is ours and must not read as a
wrong answer. Which of them it was is told by a control: a program of known work, run at once. If
the control got its share of the processor, the program was late by itself. If it did not, the
program is run again with more room; what is still late in a machine that is even slower than that
is nobody's verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qwq_env.errors import InfrastructureError
from qwq_env.sandbox.interface import DEFAULT_LIMITS, Sandbox, SandboxSession
from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits

CONTROL = "total = 0\nfor number in range(2_000_000):\n    total += number\n"
# The wall limit of the second run: so many times the CPU limit, within what servers allow.
_ROOM = 10.0
_MOST_ROOM_SECONDS = 60.0
# A program that is about to reach a limit does not reach it to the millisecond.
_NEARLY = 0.8
# The share of the processor time to be had from which on a program counts as computing.
_AWAKE = 0.25


class OurLoad(InfrastructureError):
    """A program was late because this machine has too much to do."""


class PunctualSandbox(Sandbox):
    """Wraps a sandbox; `run` and `call` raise `OurLoad` where our load alone made them late."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """See `Sandbox.run`."""
        result = await self._sandbox.run(code, stdin=stdin, limits=limits, argv=argv)
        if not await self._is_ours(result, limits):
            return result
        roomy = _roomy(limits)
        result = await self._sandbox.run(code, stdin=stdin, limits=roomy, argv=argv)
        if await self._is_ours(result, roomy):
            raise OurLoad("a program was late twice in a machine that has too much to do")
        return result

    async def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        """See `Sandbox.call`."""
        results = await self._sandbox.call(code, function, arguments, limits=limits)
        late = [place for place, result in enumerate(results) if result.status == "timeout"]
        if not late or not _starves(await self._slowness(), limits):
            return results
        roomy = _roomy(limits)
        # One tells whether it is worth it: a solution that hangs does so for each call.
        first = [arguments[late[0]]]
        [again] = await self._sandbox.call(code, function, first, limits=roomy)
        if again.status == "timeout":
            if _starves(await self._slowness(), roomy):
                raise OurLoad("a call was late twice in a machine that has too much to do")
            return results
        others = [arguments[place] for place in late]
        answers = await self._sandbox.call(code, function, others, limits=roomy)
        for place, answer in zip(late, answers, strict=True):
            results[place] = answer
        return results

    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> SandboxSession:
        """See `Sandbox.open_session`."""
        return await self._sandbox.open_session(limits=limits)

    async def aclose(self) -> None:
        """See `Sandbox.aclose`."""
        await self._sandbox.aclose()

    async def _is_ours(self, result: ExecutionResult, limits: Limits) -> bool:
        """Whether a program was late, short of its CPU limit, because it did not get to run."""
        if result.status != "timeout" or result.cpu_seconds >= _NEARLY * limits.cpu_seconds:
            return False
        slowness = await self._slowness()
        # One that slept has used far less than what there was to be had.
        awake = result.cpu_seconds * slowness >= _AWAKE * result.wall_seconds
        return awake and _starves(slowness, limits)

    async def _slowness(self) -> float:
        """How many seconds a second of computing takes now."""
        control = await self._sandbox.run(CONTROL)
        return control.wall_seconds / max(control.cpu_seconds, 0.001)


def _starves(slowness: float, limits: Limits) -> bool:
    """Whether a program that only computes would meet its wall limit before its other."""
    return slowness >= _NEARLY * limits.wall_seconds / limits.cpu_seconds


def _roomy(limits: Limits) -> Limits:
    room = min(_MOST_ROOM_SECONDS, _ROOM * limits.cpu_seconds)
    return replace(limits, wall_seconds=max(limits.wall_seconds, room))
