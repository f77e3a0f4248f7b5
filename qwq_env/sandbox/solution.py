"""Calls on a solution, from outside: one question at a time, values judged by nobody in there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from qwq_env.errors import UsageError
from qwq_env.sandbox import plain
from qwq_env.sandbox.blame import LOSSES, blame_program
from qwq_env.sandbox.dialogue import Dialogue
from qwq_env.sandbox.handle import SlotHandle, SlotLost
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import CALL_STATUSES, CallResult, CallStatus, Limits
from qwq_env.sandbox.source import checked_calls
from qwq_env.sandbox.verdict import job_of, judge


async def call_solution(
    pool: SlotPool,
    code: bytes,
    function: str,
    arguments: Sequence[Sequence[Any]],
    limits: Limits,
) -> list[CallResult]:
    """See `Sandbox.call`."""
    calls = checked_calls(function, arguments)
    questions = [_encoded(number, given) for number, given in enumerate(calls)]
    results: list[CallResult] = []
    lost = 0
    while len(results) < len(questions):
        slot = await pool.take()
        try:
            if limits.disk_mb == pool.disk_mb:
                await _converse(slot, code, function, questions, limits, results)
            else:
                odd = await pool.open(limits.disk_mb)
                try:
                    await _converse(odd, code, function, questions, limits, results)
                finally:
                    odd.destroy()
        except SlotLost:
            lost += 1
            if lost == LOSSES:
                await blame_program(pool, slot)
                gone = CallResult("killed", None, "the process took its sandbox with it")
                results.extend([gone] * (len(questions) - len(results)))
        finally:
            pool.give(slot)
    return results


def _encoded(number: int, given: list[Any]) -> Any:
    try:
        return plain.encode(given)
    except plain.NotPlain as error:
        raise UsageError(f"arguments[{number}]: {error}") from None


async def _converse(
    slot: SlotHandle,
    code: bytes,
    function: str,
    questions: list[Any],
    limits: Limits,
    results: list[CallResult],
) -> None:
    """Load the solution and ask from where `results` ends; stops early when the child does."""
    line = _Line(slot, code, limits, len(questions) - len(results))
    try:
        loading = await line.load()
        if loading.status == "ok" and loading.error is None:
            while loading.status == "ok" and len(results) < len(questions):
                answer = await line.call(function, questions[len(results)])
                results.append(answer)
                if line.ended.done() or answer.status in ("timeout", "killed"):
                    break
        else:
            status = "error" if loading.status == "ok" else loading.status
            failed = dataclasses.replace(
                loading, status=status, value=None, error=f"while loading: {loading.error}"
            )
            results.extend([failed] * (len(questions) - len(results)))
    except asyncio.CancelledError:
        slot.destroy()
        raise
    finally:
        await line.close()


class _Line:
    """The line to one loaded solution."""

    def __init__(self, slot: SlotHandle, code: bytes, limits: Limits, calls: int) -> None:
        self._slot = slot
        self._limits = limits
        self._overrun = False
        whole = dataclasses.replace(
            limits, cpu_seconds=min(86_400.0, limits.cpu_seconds * (calls + 1))
        )
        job = job_of(wire.CALLS, whole)
        self._dialogue = Dialogue(slot, job, code, limits, self._time_is_up)
        self.ended = self._dialogue.ended

    async def load(self) -> CallResult:
        """Wait until the solution is loaded; raises `SlotLost` where it did not even begin."""
        if not await self._dialogue.ready() and not self.ended.done():
            self._slot.destroy()
            raise SlotLost
        nonce = os.urandom(8).hex()
        return await self._ask(nonce, nonce.encode())

    async def call(self, function: str, arguments: Any) -> CallResult:
        """Call a function of the solution and wait for what it returns."""
        nonce = os.urandom(8).hex()
        return await self._ask(nonce, json.dumps([nonce, function, arguments]).encode())

    async def _ask(self, nonce: str, question: bytes) -> CallResult:
        opening = f'["{nonce}",'.encode()
        answer = await self._dialogue.ask(question, opening, self._limits)
        seconds = self._dialogue.watch.wall_seconds()
        if answer is not None:
            return _read(answer, seconds)
        if not self.ended.done():
            self._slot.kill_child()
        result = judge(await self.ended, self._limits)
        error: str = f"the process ended ({result.status})"
        status: CallStatus = "killed"
        if self._overrun or result.status == "timeout":
            status, error = "timeout", "time is up"
        elif result.status == "memory":
            status = "memory"
        elif result.exit_code is not None:
            status, error = "error", f"the process exited with {result.exit_code}"
        return CallResult(status, None, error, seconds)

    def _time_is_up(self) -> None:
        self._overrun = True
        self._slot.kill_child()

    async def close(self) -> None:
        """End the child, so that the slot is free for the next job."""
        self._dialogue.close()
        if not self.ended.done():
            self._slot.kill_child()
            await asyncio.wait([self.ended])


def _read(answer: bytes, seconds: float) -> CallResult:
    """Read an answer that bears the right nonce; the rest of it may still be a lie."""
    try:
        _, status, payload, error = json.loads(answer)
        if status not in CALL_STATUSES:
            raise plain.NotPlain("not a status")
        value = plain.decode(payload) if status == "ok" else None
    except (ValueError, RecursionError, plain.NotPlain) as refusal:
        return CallResult("unsupported", None, str(refusal)[:500], seconds)
    return CallResult(status, value, str(error)[:500] if error is not None else None, seconds)
