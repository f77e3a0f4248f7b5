"""A tool set: tools that share the state of one episode.

```python
class Bank(ToolSet):
    def start(self, task: Task) -> None:
        self.accounts = dict(task.metadata["accounts"])

    def transfer(self, source: str, target: str, amount: int) -> str:
        \"\"\"Move money from one account to another.\"\"\"
        ...

    def state(self) -> dict[str, int]:
        return self.accounts

env = ToolEnv(tasks, [Bank], rubric)  # the class; functools.partial(Bank, path=...) for arguments
```

Each public method is a tool, named and described as a function is by `@tool`. The set is made anew
for each episode, so `self` is that episode's own; a reward reads how it ended in
`final.state["Bank"]`.

The calls of a turn on one set run one after the other, in the order written, each with a deadline
of its own; other tools and sets run beside them. A plain method runs in a thread, which cannot be
stopped: where a call was given up at its deadline and its thread still runs, the set's next call
waits for it, within its own deadline, and fails as the tool's error if it does not end. So nothing
is ever written by two at once.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import types
from collections.abc import Awaitable, Callable, Mapping
from functools import partialmethod, singledispatchmethod
from typing import Any, ClassVar, Final

from qwq_env.errors import (
    InfrastructureError,
    ServersGone,
    ToolError,
    UsageError,
    brief,
    describe_error,
)
from qwq_env.schema.signature import signature_of
from qwq_env.task import Task
from qwq_env.text.shown import shown
from qwq_env.tool import Tool, ToolResult, in_thread

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.01
_HOOKS: Final = {"start": 1, "aclose": 0, "state": 0}
"""What of a set is no tool, and how many arguments each takes."""
_OWN: Final = (InfrastructureError, ServersGone, UsageError)


class ToolSet:
    """Tools that share attributes. Derive from it, and give the class to an environment.

    The public methods of the class, inherited ones, static and class methods included, are its
    tools; properties and whatever begins with an underscore are not, nor are the three below, which
    may be plain or async, and are bounded in time as a call is.

    `blocking` says that plain methods may take their time: they run in a thread. False says that
    they return in microseconds, and makes them several times cheaper to call. `episode_seed` is the
    seed of the episode, there before `start`.
    """

    blocking: ClassVar[bool] = True
    episode_seed: int = 0

    def start(self, task: Task) -> Awaitable[None] | None:
        """Begin an episode of `task`, before the model sees anything.

        Whatever this or the constructor raises is infrastructure: the episode does not begin.
        """
        return None

    def aclose(self) -> Awaitable[None] | None:
        """Free what the episode held."""
        return None

    def state(self) -> Any:
        """Return, as JSON, what a reward may see of the end; tuples become lists.

        Asked once, when the last calls are at rest, before `aclose`. If it raises, or what it gives
        has no JSON form, the episode is lost.
        """
        return None


class StateError(Exception):
    """A set could not say how its episode ended: the episode is lost."""


class MethodTool(Tool):
    """A method of a tool set as a tool; `bound` to the set of one episode it can be called."""

    def __init__(self, kind: type[ToolSet], method: str) -> None:
        # Bound to a set that nobody began, for its signature is that without `self`.
        function = getattr(object.__new__(kind), method)
        signature = signature_of(function)
        self.name = self.method = method
        self.set_name = kind.__name__
        self.description, self.parameters = signature.description, signature.parameters
        self.is_async = inspect.iscoroutinefunction(function)
        self.instant = not (kind.blocking or self.is_async)
        self.live: LiveSet | None = None

    def for_episode(self, task: Task, seed: int) -> Tool:
        """Refuse: alone, a method has no set to belong to."""
        raise UsageError(f"tool {self.name}: a method of a tool set; expected the set's class")

    def bound(self, live: LiveSet) -> MethodTool:
        """Return the tool of one episode; made for a call, for few of a set's are ever called."""
        made = object.__new__(MethodTool)
        made.__dict__.update(self.__dict__, live=live)
        return made

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult | str:
        """Call the method; what it returns becomes text (`shown`) if it is no `ToolResult`."""
        assert self.live is not None
        method = getattr(self.live.tool_set, self.method)
        if self.live.busy:
            try:
                await self.live.rest()
            except TimeoutError:
                raise ToolError("not run: an earlier call has not ended") from None
        value = await self.live.run(functools.partial(method, **arguments), self.is_async)
        return value if isinstance(value, ToolResult) else shown(value)


class SetMaker:
    """A tool set as an environment holds it: how one is made, and what its tools are.

    Raises `UsageError` for a class that is no sound tool set.
    """

    def __init__(self, make: Callable[[], ToolSet], kind: type[ToolSet]) -> None:
        self.make, self.kind, self.name = make, kind, kind.__name__
        self._check_hooks()
        if inspect.isabstract(kind):
            raise UsageError(f"tool set {self.name}: has abstract methods; expected none")
        try:
            self.tools = {name: MethodTool(kind, name) for name in _public_methods(kind)}
        except UsageError as error:
            raise UsageError(f"tool set {self.name}: {error}") from None
        if not self.tools:
            raise UsageError(f"tool set {self.name}: no public method; expected one for each tool")
        self.hooks = frozenset(
            hook for hook in _HOOKS if getattr(kind, hook) is not getattr(ToolSet, hook)
        )
        self.told: set[type[BaseException]] = set()

    def begin(self, seed: int, seconds: float) -> LiveSet:
        """Make the set of one episode; `seconds` bounds each of its hooks.

        Raises `InfrastructureError` if the constructor raises.
        """
        try:
            made = self.make()
        except _OWN:
            raise
        # The boundary to foreign tool code: it must not end a whole batch.
        except (Exception, SystemExit) as error:
            message = f"tool set {self.name}: cannot be made: {describe_error(error)}"
            raise InfrastructureError(message) from error
        object.__setattr__(made, "episode_seed", seed)  # a frozen dataclass may be one
        return LiveSet(self, made, seconds)

    def _check_hooks(self) -> None:
        try:
            inspect.signature(self.make).bind()
        except (TypeError, ValueError) as error:
            advice = f"functools.partial({self.name}, ...) gives it arguments"
            raise UsageError(f"tool set {self.name}: its constructor: {error}; {advice}") from None
        for hook, count in _HOOKS.items():
            try:
                inspect.signature(getattr(self.kind, hook)).bind(None, *[None] * count)
            except TypeError:
                expected = "(self, task)" if count else "(self)"
                raise UsageError(
                    f"tool set {self.name}: {hook} is no tool, it takes {expected};"
                    " a tool needs another name"
                ) from None


class LiveSet:
    """The set of one episode, and whose turn it is.

    `turn` is held by the call that runs; `busy` says that a method runs, be it one that was given
    up and cannot be stopped.
    """

    __slots__ = ("busy", "maker", "seconds", "tool_set", "turn")

    def __init__(self, maker: SetMaker, tool_set: ToolSet, seconds: float) -> None:
        self.maker, self.tool_set, self.seconds = maker, tool_set, seconds
        self.turn = asyncio.Lock()
        self.busy = False

    async def run(self, method: Callable[[], Any], is_async: bool) -> Any:
        """Run a method where it belongs: here, or in a thread."""
        self.busy = True
        if self.maker.kind.blocking and not is_async:
            try:
                value = await in_thread(functools.partial(self._then_at_rest, method))
            except InfrastructureError:
                self.busy = False  # there may have been no thread to do it
                raise
        else:
            value = await self._awaited(method)
        # An async method, behind a decorator that hides it.
        return await self._awaited(lambda: value) if inspect.isawaitable(value) else value

    async def rest(self, seconds: float | None = None) -> None:
        """Wait for what was given up and still runs, as long as a call may take or for `seconds`.

        Raises `TimeoutError` if it does not end.
        """
        async with asyncio.timeout(self.seconds if seconds is None else seconds):
            # A thread knows no event loop, and a later call may come from another one.
            while self.busy:
                await asyncio.sleep(_POLL_SECONDS)

    async def start(self, task: Task) -> None:
        """Begin. Raises `InfrastructureError` for whatever goes wrong."""
        if "start" not in self.maker.hooks:
            return
        try:
            await self._hook("start", task)
        except _OWN:
            raise
        except (Exception, SystemExit) as error:
            message = f"tool set {self.maker.name}: cannot start: {describe_error(error)}"
            raise InfrastructureError(message) from error

    async def state(self) -> Any:
        """Return a copy of the set's state, as JSON.

        Raises `StateError` if there is none. A call that never ends does not keep it from being
        told: a policy that hangs a tool cannot choose to be left out of the training by that.
        """
        if "state" not in self.maker.hooks:
            return None
        try:
            await self._rest_or_not(self.seconds)
            return json_copy(await self._hook("state"))
        except _OWN:
            raise
        except (Exception, SystemExit) as error:
            if type(error) not in self.maker.told:
                self.maker.told.add(type(error))
                words = "tool set %s gave no state; such episodes are not learned from"
                _log.error(words, self.maker.name, exc_info=error)
            message = f"tool set {self.maker.name}, state: {describe_error(error)}"
            raise StateError(message) from error

    async def aclose(self) -> None:
        """Free what the set holds; what it raises is raised."""
        if "aclose" in self.maker.hooks:
            # Its own time is bounded by whoever closes: half of it is for the waiting.
            await self._rest_or_not(self.seconds / 2)
            await self._hook("aclose")

    async def _rest_or_not(self, seconds: float) -> None:
        if not self.busy:
            return
        try:
            await self.rest(seconds)
        except TimeoutError:
            _log.warning("tool set %s: a call that was given up still runs", self.maker.name)

    async def _hook(self, name: str, *arguments: Any) -> Any:
        method = getattr(self.tool_set, name)
        call = functools.partial(method, *arguments)
        try:
            async with asyncio.timeout(self.seconds) as bound:
                return await self.run(call, inspect.iscoroutinefunction(method))
        except TimeoutError:
            if not bound.expired():
                raise
            raise TimeoutError(f"no end within {self.seconds:g} seconds") from None

    async def _awaited(self, method: Callable[[], Any]) -> Any:
        self.busy = True
        try:
            value = method()
            return await value if inspect.isawaitable(value) else value
        finally:
            self.busy = False

    def _then_at_rest(self, method: Callable[[], Any]) -> Any:
        try:
            return method()
        finally:
            self.busy = False


def maker_of(value: object) -> SetMaker | None:
    """Return the maker of what was given as a tool set, None for what has nothing to do with one.

    Raises `UsageError` for an instance, which all episodes would share.
    """
    kind = value.func if isinstance(value, functools.partial) else value
    if isinstance(kind, type) and issubclass(kind, ToolSet):
        return SetMaker(value, kind)  # type: ignore[arg-type]  # the class, or a partial of it
    if isinstance(value, ToolSet):
        name = type(value).__name__
        raise UsageError(
            f"tools: a {name} that is made already, which all episodes would share; expected the"
            f" class {name}, or functools.partial({name}, ...)"
        )
    return None


def json_copy(value: Any) -> Any:
    """Return `value` as JSON gives it back, its tuples as lists.

    Raises `TypeError` or `ValueError` for what has no JSON form, keys that are no texts included:
    JSON would make texts of them, and nothing would equal them any more.
    """
    copy = json.loads(json.dumps(value, allow_nan=False))
    if copy != value:
        _refuse_odd_keys(value)
    return copy


def _refuse_odd_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {brief(key)} is no text, and JSON has only those")
            _refuse_odd_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_odd_keys(inner)


def _public_methods(kind: type[ToolSet]) -> list[str]:
    """Return the names of a set's tools: its bases' first, each class's in the order written."""
    names: dict[str, None] = {}
    for owner in reversed(kind.__mro__):
        if issubclass(ToolSet, owner):
            continue
        names |= dict.fromkeys(name for name in vars(owner) if not name.startswith("_"))
    return [name for name in names if name not in _HOOKS and _is_method(kind, name)]


def _is_method(kind: type[ToolSet], name: str) -> bool:
    value = inspect.getattr_static(kind, name)
    if isinstance(value, Tool):
        raise UsageError(f"{name}: is made a tool already; its methods are tools as they are")
    if isinstance(value, staticmethod | classmethod) or inspect.isroutine(value):
        return True
    odd = callable(value) or isinstance(value, partialmethod | singledispatchmethod)
    if odd and not isinstance(value, type | types.GenericAlias):
        raise UsageError(f"{name}: {brief(value)}; expected a method, or a name with an underscore")
    return False
