"""Run a turn's requests on an episode's tools: side by side, bounded, answered in order.

`Toolbox.run` is the only way to a tool. It checks the name and the arguments, gives each call
a deadline and its output a cap, runs the calls of a turn concurrently, and turns whatever goes
wrong into a `CallResult` that the model can act on. One bad call never costs the good ones.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from qwq_env import portal
from qwq_env.checked_tools import ToolLike, checked_tools
from qwq_env.checks import check_positive, check_whole
from qwq_env.errors import (
    BadArguments,
    EnvironmentClosed,
    InfrastructureError,
    ToolError,
    UsageError,
    describe_error,
    did_you_mean,
)
from qwq_env.journal import AttemptJournal, Interrupted
from qwq_env.journaled_calls import Place, answer, bring_back, check_replay
from qwq_env.live_set import OWN, EndStates, LiveSet, StateError
from qwq_env.schema.arguments import check_arguments
from qwq_env.task import Task
from qwq_env.text.escapes import lost_backslash
from qwq_env.text.shown import shown
from qwq_env.text.truncation import Tokenizer, cut_characters, cut_tokens
from qwq_env.tool import Tool, ToolResult
from qwq_env.tool_set import MethodTool
from qwq_env.turn import CallResult, MalformedCall, ToolCall

_log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 1.0
"""How long a cancelled call may take to clean up before it is left to itself."""

_NAME_CHARACTERS: Final = 100
_ANSWER_PARTS: Final[tuple[tuple[str, type], ...]] = (
    ("content", str),
    ("error", str),
    ("metadata", Mapping),
)
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
_ENDING: Final = (
    "can't start new thread",
    "cannot schedule new futures after",
    "Event loop is closed",
)
_CANCELLED_ITSELF: Final = "Error: the tool cancelled itself"

_Call = Callable[[Tool, dict[str, Any], float], Awaitable[CallResult]]

_abandoned: Final[set[asyncio.Task[None]]] = set()
"""Closings of toolboxes that could not be made whole; a loop alone would let go of them."""


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Bounds on one call: wall `seconds`, and its output in `characters` and `tokens`.

    `argument_characters` bounds what a call may carry in, `calls` how many of one turn are
    run. `tokens` needs a tokenizer. Raises `UsageError` for a bound that is none.
    """

    seconds: float = 30.0
    characters: int = 8_000
    tokens: int | None = None
    argument_characters: int = 200_000
    calls: int = 64

    def __post_init__(self) -> None:
        check_positive("tool limit seconds", self.seconds)
        check_whole("tool limit tokens", self.tokens, optional=True)
        for name in ("characters", "argument_characters", "calls"):
            check_whole(f"tool limit {name}", getattr(self, name))


class Toolbox:
    """The tools of one episode. Make one for each episode, `start` it, and close it at the end.

    Raises `UsageError` for tools that are none, and `InfrastructureError` for one whose instance
    for this episode could not be made; those made before it are closed (`close_abandoned` waits).

    Of tools that are `held_back`, by name, the model does not know, and none is run before `offer`.
    `counts` tallies every request by outcome: `ok`, and each error's kind.
    """

    def __init__(
        self,
        tools: Sequence[ToolLike],
        *,
        task: Task = Task("", "", None),  # noqa: B008 - frozen
        seed: int = 0,
        limits: ToolLimits | None = None,
        tokenizer: Tokenizer | None = None,
        held_back: Collection[str] = (),
    ) -> None:
        self.limits = limits or ToolLimits()
        if self.limits.tokens is not None and tokenizer is None:
            raise UsageError("tool limit tokens: needs a tokenizer to count with; none was given")
        self.counts: Counter[str] = Counter()
        self.journal: AttemptJournal | None = None
        self._requests = 0
        self._tokenizer = tokenizer
        self._task = task
        self._tools: dict[str, Tool] = {}
        self._sets: dict[str, LiveSet] = {}
        self._orders: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._started = False
        self._starting = asyncio.Lock()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        checked = checked_tools(tools)
        self.held_back = set(held_back)
        for name in self.held_back - {tool.name for tool in checked}:
            raise UsageError(f"held_back: {no_such_tool(name, [tool.name for tool in checked])}")
        try:
            for tool in checked.single:
                self._tools[tool.name] = _begun(tool, task, seed)
            for maker in checked.sets:
                self._sets[maker.name] = maker.begin(seed, self.limits.seconds)
                self._tools |= maker.tools
            # In the order in which the model is shown them.
            self._tools = {each.name: self._tools[each.name] for each in checked}
        except BaseException:
            self._abandon()
            raise

    async def start(self) -> None:
        """Start the tool sets, if that was not done yet; whoever else asks waits until it is.

        Raises `InfrastructureError` if one cannot, or takes longer than a call may. All is closed
        then, also where the start was cancelled: a set that has begun half cannot begin again, so
        this toolbox raises `EnvironmentClosed` from now on.
        """
        async with self._starting:
            self._check_open()
            if self._started or (self.journal is not None and self.journal.offline):
                return
            try:
                for live in self._sets.values():
                    await live.start(self._task)
                    if self.journal is not None:
                        await bring_back(self.journal, live)
                    self._check_open()
            except BaseException:
                await self.aclose()
                raise
            self._started = True

    def keep(self, journal: AttemptJournal) -> None:
        """Have calls answered from `journal`, or else written there; before anything is started.

        Raises `UsageError` for a set or a tool that does not say how its state comes back.
        """
        self.journal = journal
        if not journal.offline:
            check_replay(self._tools.values(), self._sets.values())

    def offer(self, names: Collection[str]) -> list[Tool]:
        """Have tools run that were held back, and return them.

        Raises `TypeError` for a name of none.
        """
        for name in names:
            if name not in self.held_back:
                known = ", ".join(sorted(self.held_back)) or "none"
                raise TypeError(f"a reply that offers {name!r:.100}; held back are {known}")
        self.held_back.difference_update(names)
        return [self._tools[name] for name in names]

    async def state(self) -> EndStates:
        """Return what each tool set that has `state` says, by the name of its class.

        Raises `StateError` where one cannot say it.
        """
        return self.states({name: await live.state() for name, live in self._sets.items()})

    def states(self, known: Mapping[str, Any]) -> EndStates:
        """Return what the sets said in an episode that was journaled."""
        stateless = {name for name, live in self._sets.items() if "state" not in live.hooks}
        told = {name: state for name, state in known.items() if name not in stateless}
        return EndStates(told, stateless)

    async def run(self, requests: Sequence[ToolCall | MalformedCall]) -> list[CallResult]:
        """Run all requests concurrently; the results stand in the order of the requests.

        Those on one tool set, or to tools of one `call_order`, run one after the other. Raises
        `InfrastructureError` when a tool's machinery failed, and `UsageError` when the operator
        must mend a tool; the other calls of the turn are then cancelled. With a journal,
        `Interrupted` and `StateError`, too.
        """
        self._check_open()
        if self._sets and not self._started:
            await self.start()
        run, beyond = requests[: self.limits.calls], requests[self.limits.calls :]
        first, self._requests = self._requests, self._requests + len(requests)
        if len(run) == 1 or all(map(self._is_instant, run)):
            results = [await self._run_one(call, number) for number, call in enumerate(run, first)]
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._run_one(call, number))
                        for number, call in enumerate(run, first)
                    ]
            except* (InfrastructureError, UsageError, Interrupted, StateError) as failures:
                raise failures.exceptions[0] from None
            results = [task.result() for task in tasks]
        results += [self._too_many(request) for request in beyond]
        for result in results:
            self.counts[result.kind or "ok"] += 1
        return results

    async def aclose(self) -> None:
        """Close every tool; idempotent. One that fails to close is logged, not raised.

        The episode's outcome stands by then, and nobody could do anything about it. Closing goes
        on where the wait for it is cancelled; a second call waits for its end.
        """
        if not self._closed:
            self._closed = True
            if held := self._held():
                self._closing = asyncio.create_task(self._close(held))
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _check_open(self) -> None:
        if self._closed:
            raise EnvironmentClosed("the toolbox was closed; make one for each episode")

    def _held(self) -> dict[str, Tool | LiveSet]:
        """Return what holds something, by name."""
        tools = {n: t for n, t in self._tools.items() if type(t).aclose is not Tool.aclose}
        if self.journal is not None and self.journal.offline:
            return {**tools}
        return tools | {n: s for n, s in self._sets.items() if "aclose" in s.hooks}

    async def _close(self, held: Mapping[str, Tool | LiveSet]) -> None:
        for name, each in held.items():
            try:
                async with asyncio.timeout(self.limits.seconds):
                    await each.aclose()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary to tool code
                _log.warning("tool %s: failed to close: %s", name, describe_error(error))

    def _abandon(self) -> None:
        """Close what was made of a toolbox that could not be made whole, which nobody will."""
        if not self._held():
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            portal.run(self.aclose())
            return
        closing = asyncio.create_task(self.aclose())
        _abandoned.add(closing)
        closing.add_done_callback(_abandoned.discard)

    def _is_instant(self, request: ToolCall | MalformedCall) -> bool:
        """Say whether a request is answered without waiting for anything."""
        tool = self._known(request.name) if isinstance(request, ToolCall) else None
        return tool is None or tool.instant

    def _known(self, name: str) -> Tool | None:
        return None if name in self.held_back else self._tools.get(name)

    async def _run_one(self, request: ToolCall | MalformedCall, number: int) -> CallResult:
        if isinstance(request, MalformedCall):
            return _policy_error("", request.kind, request.message)
        name = request.name[:_NAME_CHARACTERS]
        tool = self._known(request.name)
        if tool is None:
            shown = [each for each in self._tools if each not in self.held_back]
            return _policy_error(name, "unknown_tool", no_such_tool(name, shown))
        arguments, problem = check_arguments(
            tool.parameters, request.arguments, characters=self.limits.argument_characters
        )
        if problem is not None:
            return _policy_error(tool.name, problem.kind, problem.message)
        call: _Call = self._call_instant if tool.instant else self._call
        live = self._sets[tool.set_name] if isinstance(tool, MethodTool) else None
        if self.journal is not None:
            call = functools.partial(self._journaled, call, Place(number, request, live))
        if isinstance(tool, MethodTool) and live is not None:
            turn: asyncio.Lock | None = live.turn
            tool = tool.bound(live)
        else:
            turn = None if tool.call_order is None else self._orders[tool.call_order]
        if turn is None:
            result = await call(tool, arguments, time.perf_counter())
        else:
            # Taken in the order of the requests: nothing was waited for until here.
            async with turn:
                result = await call(tool, arguments, time.perf_counter())
        note = lost_backslash(arguments, request.raw, failed=result.status != "ok")
        return replace(result, content=result.content + note) if note else result

    async def _journaled(
        self, call: _Call, place: Place, tool: Tool, arguments: dict[str, Any], start: float
    ) -> CallResult:
        assert self.journal is not None
        run = functools.partial(call, tool, arguments, start)
        return await answer(self.journal, place, tool, run)

    def _too_many(self, request: ToolCall | MalformedCall) -> CallResult:
        name = request.name[:_NAME_CHARACTERS] if isinstance(request, ToolCall) else ""
        message = f"not run: at most {self.limits.calls} calls in one turn"
        return _policy_error(name, "too_many_calls", message)

    async def _call(self, tool: Tool, arguments: dict[str, Any], start: float) -> CallResult:
        task = asyncio.create_task(_answer(tool, arguments))
        try:
            done, _ = await asyncio.wait({task}, timeout=self.limits.seconds)
        finally:
            # A deadline passed, or the turn was given up: leave nothing running behind.
            if not task.done():
                await _cancel(task, tool.name)
            elif not task.cancelled():
                task.exception()  # looked at, for the turn may be given up as it comes
        if not done:
            late = f"Error: no answer within {self.limits.seconds:g} seconds"
            return self._failed(tool, "timeout", late, start)
        if task.cancelled():
            return self._failed(tool, "crash", _CANCELLED_ITSELF, start)
        error = task.exception()
        if error is not None:
            return self._raised(tool, error, start)
        return self._answered(tool, task.result(), start)

    async def _call_instant(
        self, tool: Tool, arguments: dict[str, Any], start: float
    ) -> CallResult:
        """Call without a task and a timer, which would cost more than the call does."""
        try:
            answer = await _answer(tool, arguments)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return self._failed(tool, "crash", _CANCELLED_ITSELF, start)
        except Exception as error:  # noqa: BLE001 - the boundary to foreign tool code
            return self._raised(tool, error, start)
        return self._answered(tool, answer, start)

    def _raised(self, tool: Tool, error: BaseException, start: float) -> CallResult:
        if isinstance(error, BadArguments):
            return _policy_error(tool.name, "wrong_type", str(error))
        if isinstance(error, ToolError):
            return self._failed(tool, "tool_error", f"Error: {error}", start)
        if isinstance(error, (InfrastructureError, UsageError)):
            raise error
        if _is_exhaustion(error):
            # The machine's lack, whichever tool met it first.
            raise InfrastructureError(f"tool {tool.name}: {describe_error(error)}") from error
        return self._failed(tool, "crash", f"Error: {describe_error(error)}", start)

    def _answered(self, tool: Tool, result: ToolResult, start: float) -> CallResult:
        content, cut = self._cap(result.content)
        return CallResult(
            tool.name,
            content,
            "tool_error" if result.error else "ok",
            result.error,
            time.perf_counter() - start,
            cut,
            result.metadata,
        )

    def _failed(self, tool: Tool, kind: str, message: str, start: float) -> CallResult:
        return self._answered(tool, ToolResult(message, error=kind), start)

    def _cap(self, content: str) -> tuple[str, int]:
        if not content.isascii():
            # Unpaired surrogates cannot be encoded for any tokenizer.
            content = content.encode("utf-8", "replace").decode("utf-8")
        if self.limits.tokens is None or self._tokenizer is None:
            return cut_characters(content, self.limits.characters)
        return cut_tokens(
            content, self.limits.tokens, self._tokenizer, characters=self.limits.characters
        )


async def close_abandoned() -> None:
    """Wait until the tools of toolboxes that could not be made whole are closed.

    Why you would want this: whoever ends an event loop would else cut their closing short. What
    another loop closes is not waited for.
    """
    loop = asyncio.get_running_loop()
    if own := [closing for closing in _abandoned if closing.get_loop() is loop]:
        await asyncio.wait(own)


def _begun(tool: Tool, task: Task, seed: int) -> Tool:
    """Return the tool's instance for an episode. Raises `InfrastructureError` if there is none."""
    try:
        made = tool.for_episode(task, seed)
    except OWN:
        raise
    # The boundary to foreign tool code: one that has no place left must not end a whole batch.
    except (Exception, SystemExit) as error:
        message = f"tool {tool.name}: cannot be made: {describe_error(error)}"
        raise InfrastructureError(message) from error
    if not isinstance(made, Tool):
        raise UsageError(f"tool {tool.name}: for_episode gave {made!r:.80}; expected a Tool")
    return made


async def _answer(tool: Tool, arguments: dict[str, Any]) -> ToolResult:
    """Call, and return an answer whose parts are of the right kinds, or raise."""
    try:
        pending: object = tool.call(arguments)
        if isinstance(pending, str | ToolResult):
            made = type(tool).__name__
            raise UsageError(f"tool {tool.name}: {made}.call is no coroutine; expected async def")
        answer = await cast(Awaitable[object], pending)
    except SystemExit as error:
        # It would end the event loop, and every other episode with it.
        raise RuntimeError(f"the tool tried to exit with status {error.code}") from None
    if not isinstance(answer, ToolResult):
        return ToolResult(shown(answer))
    for part, kind in _ANSWER_PARTS:
        if not isinstance(value := getattr(answer, part), kind):
            found = type(value).__name__
            raise TypeError(f"ToolResult.{part} is {found}; expected {kind.__name__}")
    return answer


def _is_exhaustion(error: BaseException) -> bool:
    """Say whether an exception tells that this process, or its machine, has nothing left to give.

    A lack of memory is not counted: what a tool asks for may be the model's choice.
    """
    if isinstance(error, OSError):
        return error.errno in _EXHAUSTED
    return isinstance(error, RuntimeError) and str(error).startswith(_ENDING)


async def _cancel(task: asyncio.Task[Any], name: str) -> None:
    task.cancel()
    # Its exception has nobody left to go to.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    await asyncio.wait({task}, timeout=_GRACE_SECONDS)
    if not task.done():
        _log.warning("tool %s: does not stop when it is cancelled; left to itself", name)


def no_such_tool(name: str, tools: Collection[str]) -> str:
    """Say that none of `tools` is called so, to who may mend it."""
    hint, known = did_you_mean(name, tools), ", ".join(tools) or "none"
    return f"no tool named {name[:_NAME_CHARACTERS]!r}{hint}; tools: {known}"


def _policy_error(name: str, kind: str, message: str) -> CallResult:
    return CallResult(name, f"Error: {message}", "policy_error", kind)
