"""`LocalSession`: an interpreter of one's own in a slot of one's own."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from qwq_env.sandbox.blame import LOSSES, blame_program
from qwq_env.sandbox.dialogue import Dialogue
from qwq_env.sandbox.errors import SandboxUnavailable, SessionClosed
from qwq_env.sandbox.foreign import text_of
from qwq_env.sandbox.handle import SlotHandle, SlotLost
from qwq_env.sandbox.interface import SandboxSession
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import ExecutionResult, Limits, Status
from qwq_env.sandbox.source import checked_code
from qwq_env.sandbox.verdict import job_of, judge, value_bytes

_SOFT_SECONDS: Final = 1.0
"""Seconds that a step has to end after it was interrupted, before its interpreter is killed."""

_REST_SECONDS: Final = 0.05
"""Seconds after a step until its interpreter is stopped: steps that follow each other closely need
not wait until it goes on again."""

_LIFETIME_CPU_SECONDS: Final = 86_400.0
_MOST_PEAK: Final = 1 << 42


class _Answer(NamedTuple):
    """A step's account of itself, read without trust."""

    exit_code: int
    value: str | None
    error: str | None
    peak_bytes: int


class _Interpreter:
    """One life of a session: a slot, the child in it, and the line to that child."""

    def __init__(self, slot: SlotHandle, limits: Limits) -> None:
        self.slot = slot
        self.steps = 0
        self.resting = False
        """Whether it is stopped, with all it started, until the next step."""
        self._running = False
        self._last_step = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._verdict: Status | None = None
        slot.on_flood = self._flooded
        life = dataclasses.replace(limits, cpu_seconds=_LIFETIME_CPU_SECONDS)
        job = job_of(wire.SESSION, life)
        self._dialogue = Dialogue(
            slot, job, b"", limits, self._too_long, wire.ANSWER.size + wire.MOST_ACCOUNT_BYTES
        )

    async def ready(self) -> None:
        """Wait for the child's first word; raises `SandboxUnavailable`."""
        if not await self._dialogue.ready():
            raise SandboxUnavailable("sandbox: the session's interpreter did not start")

    def _too_long(self) -> None:
        self._interrupt("timeout")

    def _flooded(self) -> None:
        self._interrupt("output")

    def _interrupt(self, verdict: Status) -> None:
        if self._verdict is None:
            self._verdict = verdict
            self.slot.interrupt(_SOFT_SECONDS)

    async def step(
        self, code: bytes, limits: Limits, lingers: bool, alone: bool
    ) -> ExecutionResult:
        """Run one step; raises `SlotLost` where the sandbox failed.

        An interpreter that `lingers` looks out for the next step for a moment before it sleeps,
        and where it is `alone` the host does the same for the answer.
        """
        nonce, self._verdict = os.urandom(16), None
        question = wire.STEP.pack(nonce, value_bytes(limits), lingers) + code
        self.slot.begin_step()
        self._go_on()
        try:
            frame = await self._dialogue.ask(question, nonce, limits, lingers and alone)
        finally:
            self.slot.quieten()
            self._rest_soon()
        self.steps += 1
        answer = _read(frame, limits) if frame is not None else None
        if answer is None:
            return await self._died(limits)
        if self._verdict is not None:
            await self.slot.interrupted()
        stdout, stderr, truncated = self.slot.take_output()
        return ExecutionResult(
            status=_status(answer, self._verdict),
            stdout=await text_of(stdout),
            stderr=await text_of(stderr),
            value=answer.value,
            exit_code=answer.exit_code,
            cpu_seconds=self._dialogue.watch.cpu_seconds(),
            wall_seconds=self._dialogue.watch.wall_seconds(),
            peak_memory_bytes=answer.peak_bytes,
            truncated=truncated,
        )

    async def _died(self, limits: Limits) -> ExecutionResult:
        if not self._dialogue.ended.done():
            self.slot.kill_child()
        result = await judge(await self._dialogue.ended, limits)
        status: Status = self._verdict or ("error" if result.status == "ok" else result.status)
        seconds = self._dialogue.watch.wall_seconds()
        return dataclasses.replace(result, status=status, wall_seconds=seconds, state_lost=True)

    def _go_on(self) -> None:
        self._running = True
        if self.resting and not self._dialogue.ended.done():
            self.resting = False
            self.slot.order(wire.GO_ON)

    def _rest_soon(self) -> None:
        self._running, self._last_step = False, time.perf_counter()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_REST_SECONDS, self._rest)

    def _rest(self) -> None:
        """Stop it, unless there was a step since the timer was set: one serves many steps."""
        self._timer = None
        if self._running:
            return
        left = self._last_step + _REST_SECONDS - time.perf_counter()
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._rest)
        elif not self._dialogue.ended.done():
            self.resting = True
            self.slot.order(wire.REST)

    def end(self) -> None:
        """Kill it."""
        if self._timer is not None:
            self._timer.cancel()
        self._dialogue.close()
        self.slot.destroy()


class LocalSession(SandboxSession):
    """A session of a `LocalSandbox`; made by `LocalSandbox.open_session`."""

    def __init__(
        self, pool: SlotPool, limits: Limits, on_close: Callable[[LocalSession], None]
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._on_close = on_close
        self._turn = asyncio.Lock()
        self._interpreter: _Interpreter | None = None
        self._state_lost = False
        self._closed = False

    async def open(self) -> None:
        """Start the interpreter now rather than at the first step."""
        await self._running()

    @property
    def pid(self) -> int | None:
        """The process id of the session's slot; None while there is none."""
        return self._interpreter.slot.pid if self._interpreter else None

    async def _running(self) -> _Interpreter:
        if self._closed:
            raise SessionClosed("session: was closed")
        if self._interpreter is None:
            slot = await self._pool.open(self._limits.disk_mb)
            try:
                interpreter = _Interpreter(slot, self._limits)
                await interpreter.ready()
            except BaseException:
                slot.destroy()
                raise
            self._interpreter = interpreter
        return self._interpreter

    async def run(self, code: str | bytes, *, wall_seconds: float | None = None) -> ExecutionResult:
        """See `SandboxSession.run`."""
        source = checked_code(code)
        limits = self._limits
        if wall_seconds is not None:
            limits = dataclasses.replace(limits, wall_seconds=wall_seconds)
        async with self._turn:
            attempts = 0
            while True:
                attempts += 1
                interpreter = self._interpreter or await self._running()
                try:
                    result = await self._step(interpreter, source, limits)
                except SlotLost:
                    fresh = interpreter.steps <= 1 and not self._state_lost
                    self._discard()
                    if fresh and attempts < LOSSES:
                        continue
                    self._state_lost = True
                    result = await self._explain_loss(interpreter)
                except asyncio.CancelledError:
                    self._discard()
                    self._state_lost = True
                    raise
                break
            was_lost, self._state_lost = self._state_lost, result.state_lost
            if result.state_lost:
                self._discard()
            return dataclasses.replace(result, state_lost=True) if was_lost else result

    async def _step(
        self, interpreter: _Interpreter, source: bytes, limits: Limits
    ) -> ExecutionResult:
        pool = self._pool
        pool.steps += 1
        try:
            return await interpreter.step(source, limits, pool.has_core_to_spare, pool.steps == 1)
        finally:
            pool.steps -= 1

    async def _explain_loss(self, interpreter: _Interpreter) -> ExecutionResult:
        """Return what a step came to whose slot was lost; raises where it was not its doing."""
        try:
            if interpreter.resting:
                raise SandboxUnavailable("session: its slot was lost while it was at rest")
            result = await blame_program(self._pool, interpreter.slot)
        except SandboxUnavailable as error:
            raise SandboxUnavailable(f"session: its state was lost ({error})") from error
        return dataclasses.replace(result, state_lost=True)

    def _discard(self) -> None:
        if self._interpreter is not None:
            self._interpreter.end()
            self._interpreter = None

    async def aclose(self) -> None:
        """See `SandboxSession.aclose`."""
        if not self._closed:
            self._closed = True
            self._discard()
            self._on_close(self)


def _read(frame: bytearray, limits: Limits) -> _Answer | None:
    """Read an answer; None for one that no interpreter gives, which is the program's own doing."""
    try:
        _, exit_code, peak = wire.ANSWER.unpack_from(frame)
        value, error = wire.unpack_account(bytes(frame[wire.ANSWER.size :]))
    except (struct.error, ValueError):
        return None
    too_long = value is not None and len(value) > value_bytes(limits)
    if too_long or not 0 <= exit_code <= 255 or not 0 <= peak <= _MOST_PEAK:
        return None
    return _Answer(exit_code, value, error, peak)


def _status(answer: _Answer, verdict: Status | None) -> Status:
    if verdict is not None:
        return verdict
    if answer.error == "MemoryError":
        return "memory"
    return "ok" if answer.exit_code == 0 else "error"
