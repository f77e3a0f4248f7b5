"""Calls on a solution, from outside: one question at a time, values judged by nobody in there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from qwq_env.errors import UsageError
from qwq_env.sandbox import plain
from qwq_env.sandbox.blame import LOSSES, blame_program
from qwq_env.sandbox.collect import TooCostly
from qwq_env.sandbox.dialogue import Dialogue
from qwq_env.sandbox.foreign import Reader, in_turns
from qwq_env.sandbox.handle import SlotHandle, SlotLost
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import CALL_STATUSES, CallResult, CallStatus, Limits
from qwq_env.sandbox.source import checked_calls
from qwq_env.sandbox.verdict import job_of, judge
from qwq_env.sandbox.writing import joined

_MOST_BUILT: Final = 52 << 20
"""Bytes that the values of one request and the text of an answer may take at a time: enough for a
million numbers, or for a hundred thousand tuples."""


async def call_solution(
    pool: SlotPool,
    reader: Reader,
    code: bytes,
    function: str,
    arguments: Sequence[Sequence[Any]],
    limits: Limits,
) -> list[CallResult]:
    """See `Sandbox.call`."""
    calls = checked_calls(function, arguments)
    questions = [await _written(number, given) for number, given in enumerate(calls)]
    results = _Results(len(questions))
    lost = 0
    while len(results) < len(questions):
        try:
            async with pool.lend(limits.disk_mb) as slot:
                await _converse(slot, reader, code, function, questions, limits, results)
        except SlotLost:
            lost += 1
            if lost == LOSSES:
                await blame_program(pool, slot)
                gone = CallResult("killed", None, "the process took its sandbox with it")
                results.extend([gone] * (len(questions) - len(results)))
    return results


async def _written(number: int, given: list[Any]) -> str:
    try:
        return await in_turns(joined(plain.writing(given)))
    except plain.NotPlain as error:
        raise UsageError(f"arguments[{number}]: {error}") from None


class _Answer(NamedTuple):
    """What one call came to, about how many bytes its value takes, whether it takes too many."""

    result: CallResult
    size: int = 0
    too_large: bool = False


class _Results(list[CallResult]):
    """The results so far; `room` bytes are left for further values."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.room = _MOST_BUILT

    def add(self, answer: _Answer) -> None:
        """Add an answer; where it is too large beside those before it, the rest is skipped."""
        if answer.too_large and self.room < _MOST_BUILT:
            error = "skipped: the values before it fill the request, ask again"
            skipped = CallResult("unsupported", None, error, skipped=True)
            self.extend([skipped] * (self._wanted - len(self)))
        else:
            self.append(answer.result)
            self.room -= answer.size


async def _converse(
    slot: SlotHandle,
    reader: Reader,
    code: bytes,
    function: str,
    questions: list[str],
    limits: Limits,
    results: _Results,
) -> None:
    """Load the solution and ask from where `results` ends; stops early when the child does."""
    line = _Line(slot, reader, code, limits, len(questions) - len(results))
    try:
        loading = await line.load()
        if loading.status == "ok" and loading.error is None:
            while loading.status == "ok" and len(results) < len(questions):
                answer = await line.call(function, questions[len(results)], results.room)
                results.add(answer)
                if line.ended.done() or answer.result.status in ("timeout", "killed"):
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

    def __init__(
        self, slot: SlotHandle, reader: Reader, code: bytes, limits: Limits, calls: int
    ) -> None:
        self._slot = slot
        self._reader = reader
        self._limits = limits
        self._overrun = False
        whole = dataclasses.replace(
            limits, cpu_seconds=min(86_400.0, limits.cpu_seconds * (calls + 1))
        )
        job = job_of(wire.CALLS, whole)
        self._dialogue = Dialogue(slot, job, code, limits, self._time_is_up, wire.MOST_ANSWER_BYTES)
        self.ended = self._dialogue.ended

    async def load(self) -> CallResult:
        """Wait until the solution is loaded; raises `SlotLost` where it did not even begin."""
        if not await self._dialogue.ready() and not self.ended.done():
            self._slot.destroy()
            raise SlotLost
        nonce = os.urandom(8).hex()
        return (await self._ask(nonce, nonce.encode(), _MOST_BUILT)).result

    async def call(self, function: str, arguments: str, most: int) -> _Answer:
        """Call a function of the solution; `most` bytes may be taken by the value it returns."""
        nonce = os.urandom(8).hex()
        question = f'["{nonce}",{json.dumps(function)},{arguments}]'
        return await self._ask(nonce, question.encode(), most)

    async def _ask(self, nonce: str, question: bytes, most: int) -> _Answer:
        opening = f'["{nonce}",'.encode()
        answer = await self._dialogue.ask(question, opening, self._limits)
        seconds = self._dialogue.watch.wall_seconds()
        if answer is not None:
            return await _read(self._reader, answer, most, seconds)
        return _Answer(await self._ended(seconds))

    async def _ended(self, seconds: float) -> CallResult:
        """Return what a call came to under which the process ended."""
        if not self.ended.done():
            self._slot.kill_child()
        result = await judge(await self.ended, self._limits)
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


async def _read(reader: Reader, answer: bytearray, most: int, seconds: float) -> _Answer:
    """Read an answer that bears the right nonce; the rest of it may still be a lie."""
    try:
        read, size = await reader.read(answer, most)
        _, status, value, error = read
        if type(status) is not str or status not in CALL_STATUSES:
            raise plain.NotPlain("not a status")
        if error is not None and type(error) is not str:
            raise plain.NotPlain("not the text of an error")
    except (ValueError, TypeError, RecursionError) as refusal:
        refused = CallResult("unsupported", None, str(refusal)[:500], seconds)
        return _Answer(refused, too_large=isinstance(refusal, TooCostly))
    if status != "ok":
        value, size = None, 0
    known = cast(CallStatus, status)
    return _Answer(CallResult(known, value, error and error[:500], seconds), size)
