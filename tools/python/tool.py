"""The `python` tool: an interpreter for the episode, whose variables live from call to call.

Each episode has a session of its own, opened at its first call. By default it is one of the
sandbox's (`qwq_env.sandbox`): isolated, warm, with numpy and sympy loaded. One pool of them
serves the whole process and ends with it. `backend="subprocess"` needs no isolation from the
machine and gives none: for code that you trust.

The hops: `Toolbox.run` → `PythonTool.call` → `SandboxSession.run` → `observation.describe`.
"""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import os
from collections.abc import Mapping
from typing import Any, Literal

from qwq_env.errors import InfrastructureError, ToolError, UsageError, unknown
from qwq_env.sandbox import ExecutionResult, Limits, Sandbox, SandboxSession
from qwq_env.sandbox.source import MOST_CODE_BYTES
from qwq_env.task import Task
from qwq_env.tool import Tool, ToolResult
from qwq_env.tools.python.observation import describe
from qwq_env.tools.python.pool import SharedSession
from qwq_env.tools.python.subprocess_session import SubprocessSession

Backend = Literal["sandbox", "subprocess"]
_BACKENDS = ("sandbox", "subprocess")

_SEEDING = """\
import random as _random, sys as _sys
_random.seed({seed})
if "numpy" in _sys.modules:
    _sys.modules["numpy"].random.seed({seed})
del _random, _sys
"""


class PythonTool(Tool):
    """Runs Python; shows what was printed, the last expression's value, or the error.

    `seconds` of CPU time are allowed a call, and twice as many of wall time, which must stay
    below `ToolLimits.seconds`, so that a slow call is interrupted (its variables are kept)
    rather than given up. `memory_mb` bounds the interpreter. `sandbox` is one of your own
    (a client of a server, another level of isolation), which you close; it must not be given
    together with `backend="subprocess"`. The session's random numbers are seeded with the
    episode's seed.
    """

    name = "python"
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The Python code to run."}},
        "required": ["code"],
        "additionalProperties": False,
    }

    def __init__(
        self,
        *,
        backend: Backend = "sandbox",
        seconds: float = 10.0,
        memory_mb: int = 256,
        sandbox: Sandbox | None = None,
    ) -> None:
        if backend not in _BACKENDS:
            raise unknown("python tool, backend", backend, _BACKENDS)
        if sandbox is not None and backend != "sandbox":
            raise UsageError("python tool, sandbox: given together with backend='subprocess'")
        # The sandbox measures CPU time, and wall time is its safety net; a subprocess has no other.
        wall = 2 * seconds if backend == "sandbox" else seconds
        self.limits = Limits(cpu_seconds=seconds, wall_seconds=wall, memory_mb=memory_mb)
        self.description = _description(backend)
        self.backend = backend
        # A subprocess may reach anything: whether its programs can run again, who trusts them says.
        self.replay = "rerun" if backend == "sandbox" else None
        self._sandbox = sandbox
        self._seed = 0
        self._begin()

    def _begin(self) -> None:
        self._session: SandboxSession | None = None
        self._turn = asyncio.Lock()
        self._owner = os.getpid()
        self._fresh = True  # the next step begins without names
        self._unsaid_loss = False  # names were lost, and the model has not been told

    def for_episode(self, task: Task, seed: int) -> PythonTool:
        """Return the tool of one episode, its interpreter not yet started."""
        episode = copy.copy(self)
        episode._seed = seed
        episode._begin()
        return episode

    def __getstate__(self) -> dict[str, Any]:
        # An interpreter cannot be pickled; the copy starts one of its own.
        return {**self.__dict__, "_session": None, "_turn": None, "_inherited": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Run `arguments["code"]`; the calls of one turn run one after another."""
        code = _checked(arguments["code"])
        if self._owner != os.getpid():
            self._leave_to_parent()
        async with self._turn:
            session = await self._ready()
            began_afresh = self._unsaid_loss
            # Until the step has ended the names count as lost: it may be given up and killed.
            self._fresh = self._unsaid_loss = True
            result = _decided(await session.run(code))
            self._fresh, self._unsaid_loss = result.state_lost, False
        return describe(result, self.limits, began_afresh=began_afresh)

    async def _ready(self) -> SandboxSession:
        """Return the session, its random numbers seeded if the next step begins without names."""
        if self._session is None:
            self._session = await self._open()
        if self._fresh:
            _decided(await self._session.run(_SEEDING.format(seed=self._seed % 2**32)))
            self._fresh = False
        return self._session

    async def _open(self) -> SandboxSession:
        if self._sandbox is not None:
            return await self._sandbox.open_session(limits=self.limits)
        if self.backend == "subprocess":
            return SubprocessSession(self.limits)
        return SharedSession(self.limits)

    def _leave_to_parent(self) -> None:
        """After a fork: the interpreter is the parent's, so keep it from being ended here."""
        self._inherited = self._session
        had_names = not self._fresh
        self._begin()
        self._unsaid_loss = had_names

    async def aclose(self) -> None:
        """End the interpreter."""
        if self._owner != os.getpid():
            self._leave_to_parent()
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()


def _description(backend: Backend) -> str:
    modules = [f", {name}" for name in ("numpy", "sympy") if importlib.util.find_spec(name)]
    network = "; there is no network" if backend == "sandbox" else ""
    return (
        "Run Python code and see what it prints, and the value of its last expression. "
        "Variables are kept between calls. Importable: the standard library"
        f"{''.join(modules)}{network}."
    )


def _checked(code: str) -> str:
    try:
        code.encode()
    except UnicodeEncodeError:
        raise ToolError("the code holds an unpaired surrogate; write it as an escape") from None
    if "\0" in code:
        raise ToolError("the code holds a null byte; write it as an escape")
    if not code.strip():
        raise ToolError("the code is empty; write what is to be run")
    if len(code.encode()) > MOST_CODE_BYTES:
        raise ToolError(f"the code is longer than {MOST_CODE_BYTES} bytes")
    return code


def _decided(result: ExecutionResult) -> ExecutionResult:
    if result.status == "infra":
        raise InfrastructureError(f"python: the sandbox failed: {result.stderr[:500]}")
    return result
