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

import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Mapping
from functools import partialmethod, singledispatchmethod
from typing import Any, ClassVar, Final

from qwq_env.errors import (
    InfrastructureError,
    ToolError,
    UsageError,
    brief,
    describe_error,
)
from qwq_env.live_set import OWN, LiveSet
from qwq_env.schema.signature import signature_of
from qwq_env.task import Task
from qwq_env.text.shown import shown
from qwq_env.tool import Replay, Tool, ToolResult

_HOOKS: Final = {"start": 1, "aclose": 0, "state": 0, "restore_state": 1}
"""What of a set is no tool, and how many arguments each takes."""


class ToolSet:
    """Tools that share attributes. Derive from it, and give the class to an environment.

    The public methods of the class, inherited ones, static and class methods included, are its
    tools; properties and whatever begins with an underscore are not, nor are the four below, which
    may be plain or async, and are bounded in time as a call is.

    `blocking` says that plain methods may take their time: each call runs in a thread, not always
    the same (for what minds that, as sqlite3 does, say `check_same_thread=False`). False says that
    they return in microseconds, and makes them, and the beginning of an episode, many times
    cheaper. `episode_seed` is the seed of the episode, there before `start`.

    `replay` is for runs with a journal (`qwq_env.journal`), which need to know how the state comes
    back when an interrupted episode goes on. `"rerun"` if the calls change nothing but the set:
    they are run again on a new one. Where they must not be, `restore_state` brings it back.
    """

    blocking: ClassVar[bool] = True
    replay: ClassVar[Replay | None] = None
    episode_seed: int = 0

    def start(self, task: Task) -> Awaitable[None] | None:
        """Begin an episode of `task`, before the model sees anything.

        The task is shared by all its episodes: copy what your methods change, `metadata` included.
        Whatever this or the constructor raises is infrastructure: the episode does not begin.
        """
        return None

    def aclose(self) -> Awaitable[None] | None:
        """Free what the episode held."""
        return None

    def state(self) -> Any:
        """Return, as JSON, what a reward may see of the end; tuples become lists.

        Asked once, when the last calls are at rest, before `aclose`. If it raises, or what it gives
        has no JSON form, the episode is lost. A reward that asks for a set without this method
        raises `UsageError`.
        """
        return None

    def restore_state(self, state: Any) -> Awaitable[None] | None:
        """Take up what `state` said in a run that was interrupted; `start` was called before.

        Only for runs with a journal. A set that has this is asked for its state after each call,
        too. Whatever it raises is infrastructure.
        """
        return None


class MethodTool(Tool):
    """A method of a tool set as a tool; `bound` to the set of one episode it can be called."""

    def __init__(self, kind: type[ToolSet], method: str) -> None:
        # Bound to a set that nobody began, for its signature is that without `self`.
        function = getattr(object.__new__(kind), method)
        signature = signature_of(function)
        self.name = self.method = method
        self.description, self.parameters = signature.description, signature.parameters
        self.read = signature.read
        self.is_async = inspect.iscoroutinefunction(function)
        self.instant = not (kind.blocking or self.is_async)
        self.replay = None if callable(kind.replay) else kind.replay
        self.live: LiveSet | None = None
        self.set_name = kind.__name__

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
        if self.read is not None:
            arguments = self.read(arguments)
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
        except OWN:
            raise
        # The boundary to foreign tool code: it must not end a whole batch.
        except (Exception, SystemExit) as error:
            message = f"tool set {self.name}: cannot be made: {describe_error(error)}"
            raise InfrastructureError(message) from error
        object.__setattr__(made, "episode_seed", seed)  # a frozen dataclass may be one
        return LiveSet(self.name, made, self.hooks, seconds, self.told)

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
                argument = {"start": ", task", "restore_state": ", state"}.get(hook, "")
                expected = f"(self{argument})"
                raise UsageError(
                    f"tool set {self.name}: {hook} is no tool, it takes {expected};"
                    " a tool needs another name"
                ) from None


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
