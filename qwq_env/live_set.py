"""A tool set in an episode: its calls one at a time, its hooks bounded, its end as JSON."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from qwq_env.errors import (
    InfrastructureError,
    ServersGone,
    UsageError,
    brief,
    describe_error,
    did_you_mean,
)
from qwq_env.task import Task
from qwq_env.threads import in_thread

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.01
OWN: Final = (InfrastructureError, ServersGone, UsageError)
"""What foreign code may raise on purpose, whose addressee is known."""


class StateError(Exception):
    """A set could not say how its episode ended: the episode is lost."""


class EndStates(dict[str, Any]):
    """What the tool sets of an episode said at its end, by name.

    Asked for a set that has no `state`, or for one that there is not, it raises `UsageError`: a
    reward that read None there would be 0 in every episode, and nobody would know why.
    """

    def __init__(self, states: Mapping[str, Any], stateless: Iterable[str]) -> None:
        super().__init__(states)
        self._stateless = frozenset(stateless)

    def __missing__(self, name: str) -> Any:
        if name in self._stateless:
            raise UsageError(
                f"final.state[{name!r}]: {name} has no state(); give it a method `state(self)` that"
                " returns, as JSON, what a reward may see of the end"
            )
        known = ", ".join(self) or "none"
        hint = did_you_mean(str(name), [*self, *self._stateless])
        raise UsageError(f"final.state[{brief(name)}]: no such tool set{hint}; there are: {known}")

    def get(self, name: str, default: Any = None) -> Any:
        """Return the state of a set; `default` for one that there is not."""
        return self[name] if name in self._stateless else super().get(name, default)


class LiveSet:
    """The set of one episode, and whose turn it is.

    `turn` is held by the call that runs; `busy` says that a method runs, be it one that was given
    up and cannot be stopped.
    """

    __slots__ = ("_told", "busy", "hooks", "name", "seconds", "tool_set", "turn")

    def __init__(
        self,
        name: str,
        tool_set: Any,
        hooks: Collection[str],
        seconds: float,
        told: set[type[BaseException]],
    ) -> None:
        """`hooks` are those that the set has of its own; `told` the errors that were logged."""
        self.name, self.tool_set, self.hooks, self.seconds = name, tool_set, hooks, seconds
        self._told = told
        self.turn = asyncio.Lock()
        self.busy = False

    async def run(self, method: Callable[[], Any], is_async: bool) -> Any:
        """Run a method where it belongs: here, or in a thread."""
        self.busy = True
        if self.tool_set.blocking and not is_async:
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
        if "start" in self.hooks:
            await self._prepare("start", task)

    async def restore(self, state: Any) -> None:
        """Bring back a state. Raises `InfrastructureError` for whatever goes wrong."""
        await self._prepare("restore_state", state)

    async def _prepare(self, hook: str, given: Any) -> None:
        try:
            await self._hook(hook, given)
        except OWN:
            raise
        except (Exception, SystemExit) as error:
            what = "cannot start" if hook == "start" else hook
            message = f"tool set {self.name}: {what}: {describe_error(error)}"
            raise InfrastructureError(message) from error

    async def state(self) -> Any:
        """Return a copy of the set's state, as JSON.

        Raises `StateError` if there is none. A call that never ends does not keep it from being
        told: a policy that hangs a tool cannot choose to be left out of the training by that.
        """
        if "state" not in self.hooks:
            return None
        try:
            await self._rest_or_not(self.seconds)
            return json_copy(await self._hook("state"))
        except OWN:
            raise
        except (Exception, SystemExit) as error:
            if type(error) not in self._told:
                self._told.add(type(error))
                words = "tool set %s gave no state; such episodes are not learned from"
                _log.error(words, self.name, exc_info=error)
            message = f"tool set {self.name}, state: {describe_error(error)}"
            raise StateError(message) from error

    async def aclose(self) -> None:
        """Free what the set holds; what it raises is raised."""
        if "aclose" in self.hooks:
            # Its own time is bounded by whoever closes: half of it is for the waiting.
            await self._rest_or_not(self.seconds / 2)
            await self._hook("aclose")

    async def _rest_or_not(self, seconds: float) -> None:
        if not self.busy:
            return
        try:
            await self.rest(seconds)
        except TimeoutError:
            _log.warning("tool set %s: a call that was given up still runs", self.name)

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
