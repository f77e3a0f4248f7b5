"""`LocalSandbox`: the sandbox on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any, Final, Literal

from qwq_env.errors import UsageError
from qwq_env.sandbox import canary, plain
from qwq_env.sandbox.blame import LOSSES, blame_program
from qwq_env.sandbox.cgroup import CgroupTree
from qwq_env.sandbox.errors import LevelUnavailable, SandboxUnavailable, SessionClosed
from qwq_env.sandbox.foreign import Reader
from qwq_env.sandbox.handle import Ended, SlotHandle, SlotLost
from qwq_env.sandbox.interface import DEFAULT_LIMITS, Sandbox
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.levels import LEVELS, Level, Plan, check_level, plans
from qwq_env.sandbox.pool import SlotPool
from qwq_env.sandbox.result import CallResult, ExecutionResult, Limits
from qwq_env.sandbox.session import LocalSession
from qwq_env.sandbox.solution import call_solution
from qwq_env.sandbox.source import Program, checked_code, checked_limits, checked_program
from qwq_env.sandbox.verdict import job_of, judge

_log = logging.getLogger(__name__)

_MOST_DEFAULT_SLOTS: Final = 32
"""Each slot holds its own copy of the warm image, some 60 MB with numpy and sympy."""


class LocalSandbox(Sandbox):
    """Runs programs on this machine in a pool of warm slots; starts at its first use.

    `slots`: one-shots at a time, by default one more than there are cores, at most 32 (sessions
    come on top, one slot each). `preload`: modules that the warm image holds, where they are
    installed. `level`: exactly this level of isolation; `plan`: exactly these layers;
    `require`: at least this level, else `LevelUnavailable`; by default the strongest that
    passes its canary, but D only with `allow_unsafe`. `cgroup`: `"auto"` uses control groups
    where they may be made, `"off"` never, `"require"` fails without. `disk_mb`: the scratch
    space of the warm slots (programs with another limit wait for a slot made for them). A
    sandbox belongs to the event loop of its first use.
    """

    def __init__(
        self,
        slots: int | None = None,
        *,
        preload: Sequence[str] = ("numpy", "sympy"),
        level: str | None = None,
        plan: Plan | None = None,
        require: str | None = None,
        allow_unsafe: bool = False,
        cgroup: Literal["auto", "off", "require"] = "auto",
        disk_mb: int = DEFAULT_LIMITS.disk_mb,
    ) -> None:
        if slots is not None and not 1 <= slots <= 4096:
            raise UsageError(f"slots: {slots!r} is out of bounds, expected 1 to 4096")
        if cgroup not in ("auto", "off", "require"):
            raise UsageError(f"cgroup: {cgroup!r} is not known, expected auto, off or require")
        self._slots = slots or min(len(os.sched_getaffinity(0)) + 1, _MOST_DEFAULT_SLOTS)
        self._preload = tuple(preload)
        self._exactly = check_level(level, "level") if level is not None else None
        self._plans = plans() if plan is None else (plan,)
        self._at_least = check_level(require, "require") if require is not None else None
        self._allow_unsafe = allow_unsafe
        self._cgroup = cgroup
        self._disk_mb = disk_mb
        self._reader = Reader(plain.building)
        self._groups: CgroupTree | None = None
        self._pool: SlotPool | None = None
        self._sessions: set[LocalSession] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Lock | None = None
        self._closed = False

    @property
    def level(self) -> Level | None:
        """The level of isolation in force; None before the start."""
        return self._pool.plan.level if self._pool else None

    @property
    def plan(self) -> Plan | None:
        """The layers in force; None before the start."""
        return self._pool.plan if self._pool else None

    @property
    def slots(self) -> int:
        """How many one-shots run at a time."""
        return self._slots

    @property
    def waiting(self) -> int:
        """How many one-shots wait for a slot."""
        return self._pool.waiting if self._pool else 0

    @property
    def server_pid(self) -> int | None:
        """The process id of the fork server; None before the start."""
        return self._pool.server_pid if self._pool else None

    @property
    def slot_pids(self) -> list[int]:
        """The process ids of the slots, those of sessions too."""
        return self._pool.slot_pids if self._pool else []

    async def start(self) -> None:
        """Start now rather than at the first use; raises `LevelUnavailable`."""
        await self._ready()

    async def _ready(self) -> SlotPool:
        if self._pool is not None and self._loop is asyncio.get_running_loop():
            if self._closed:
                raise SessionClosed("sandbox: was closed")
            return self._pool
        if self._closed:
            raise SessionClosed("sandbox: was closed")
        if self._starting is None or self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.Lock()
        if self._loop is not asyncio.get_running_loop():
            raise UsageError("sandbox: belongs to another event loop, make one for each")
        async with self._starting:
            if self._pool is None:
                # Those of a start that failed serve the next one.
                if self._cgroup != "off" and self._groups is None:
                    self._groups = CgroupTree.create()
                if self._groups is None and self._cgroup == "require":
                    raise LevelUnavailable("cgroup: none can be made here")
                self._pool = await self._strongest()
        return self._pool

    async def _strongest(self) -> SlotPool:
        refused = []
        for plan in self._plans:
            if not self._wanted(plan.level):
                continue
            pool = SlotPool(plan, self._preload, self._slots, self._disk_mb, self._groups)
            try:
                await pool.start()
                leaks = await canary.leaks(pool)
            except SandboxUnavailable as error:
                leaks = [str(error)]
            except BaseException:
                await pool.aclose()
                raise
            if self._closed:
                await pool.aclose()
                await self._remove_groups()
                raise SessionClosed("sandbox: was closed")
            if not leaks or plan.level == "D":
                report = _log.info if plan.level == "A" else _log.warning
                report("sandbox: level %s (%s)", plan.level, ", ".join(plan.layers))
                return pool
            await pool.aclose()
            refused.append(f"{plan.level} ({', '.join(plan.layers)}): {'; '.join(leaks)}")
        wanted = self._exactly or self._at_least or "C"
        raise LevelUnavailable(
            f"sandbox: level {wanted} cannot be had here: " + " | ".join(refused or ["not offered"])
        )

    def _wanted(self, level: Level) -> bool:
        if level == "D" and not self._allow_unsafe:
            return False
        if self._exactly is not None:
            return level == self._exactly
        return self._at_least is None or LEVELS.index(level) <= LEVELS.index(self._at_least)

    async def run(
        self,
        code: str | bytes,
        *,
        stdin: bytes = b"",
        limits: Limits = DEFAULT_LIMITS,
        argv: Sequence[str] = (),
    ) -> ExecutionResult:
        """See `Sandbox.run`."""
        program = checked_program(code, stdin, argv)
        checked_limits(limits)
        pool = await self._ready()
        for _ in range(LOSSES):
            try:
                async with pool.lend(limits.disk_mb) as slot:
                    return await judge(await self._once(slot, program, limits), limits)
            except SlotLost:
                _log.warning("sandbox: a slot was lost under a program")
        return await blame_program(pool, slot)

    async def _once(self, slot: SlotHandle, program: Program, limits: Limits) -> Ended:
        code, stdin, argv = program
        try:
            return await slot.start(job_of(wire.RUN, limits), code, stdin, None, limits, argv=argv)
        except asyncio.CancelledError:
            slot.destroy()
            raise

    async def open_session(self, *, limits: Limits = DEFAULT_LIMITS) -> LocalSession:
        """See `Sandbox.open_session`."""
        checked_limits(limits)
        pool = await self._ready()
        session = LocalSession(pool, limits, self._sessions.discard)
        await session.open()
        self._sessions.add(session)
        return session

    async def call(
        self,
        code: str | bytes,
        function: str,
        arguments: Sequence[Sequence[Any]],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> list[CallResult]:
        """See `Sandbox.call`."""
        source = checked_code(code)
        checked_limits(limits)
        pool = await self._ready()
        return await call_solution(pool, self._reader, source, function, arguments, limits)

    async def aclose(self) -> None:
        """See `Sandbox.aclose`."""
        if self._closed:
            return
        self._closed = True
        for session in list(self._sessions):
            await session.aclose()
        if self._pool is not None:
            await self._pool.aclose()
        await self._remove_groups()

    async def _remove_groups(self) -> None:
        if self._groups is not None:
            for _ in range(100):
                if self._groups.remove():
                    break
                await asyncio.sleep(0.01)
