"""A tool: what the model may call, described by a JSON schema.

Why you would want this: a function with type hints and a docstring is a tool in one line,

```python
@tool
def population(city: str, year: int = 2024) -> str:
    \"\"\"Look up how many people live in a city.

    Args:
        city: The city's name in English.
        year: The year asked for.
    \"\"\"
```

and a tool with state is a class of four members. Arguments reach `call` validated and
safely coerced; a `ToolError` raised inside goes to the model as an observation, an
`InfrastructureError` goes to the operator, and any other exception is shown to the model
as the tool's own failure. Deadlines, output caps and recording are the `Toolbox`'s work.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, overload

from qwq_env.errors import ToolError as ToolError
from qwq_env.errors import UsageError, brief, unknown
from qwq_env.schema.signature import Signature, signature_of
from qwq_env.task import Task
from qwq_env.text.shown import shown
from qwq_env.threads import in_thread

Replay = Literal["once", "idempotent", "rerun"]
"""What an interrupted episode may do with a tool's calls when it goes on; see `qwq_env.journal`."""

REPLAYS: Final = ("once", "idempotent", "rerun")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answers: `content` is shown to the model, `metadata` only to the operator.

    `error` names the kind of failure, for counting, where the tool ran and failed but has more
    to show than a `ToolError`'s message (what was printed before the exception, say).
    Anything but texts and a mapping here counts as the tool's own failure.
    """

    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class Tool(ABC):
    """A named operation that the model may call.

    `name` is what the model writes, `description` what it reads, `parameters` the JSON
    schema (draft 2020-12, an object) that its arguments must satisfy. One instance describes
    the tool; `for_episode` gives the instance that serves one episode, so state never
    crosses episodes. A name, a description or parameters that could not be shown to a model are
    refused where the tool is given to an environment.

    `instant` says that `call` computes for microseconds and never awaits. Then no deadline could
    cut it, and none is set, which makes it several times cheaper to call.

    `replay` is for runs with a journal (`qwq_env.journal`): whether a call may be run again when an
    interrupted episode goes on. None counts as `"once"`: its effects must not happen twice.

    `call_order`, where it is not None: an episode's calls to tools with the same one run one after
    the other, as they were written, for these tools share a state that lies elsewhere.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    instant: bool = False
    replay: Replay | None = None
    call_order: Hashable | None = None

    def for_episode(self, task: Task, seed: int) -> Tool:
        """Return the instance for one episode of `task`; a tool without state returns itself."""
        return self

    @abstractmethod
    async def call(self, arguments: Mapping[str, Any]) -> ToolResult | str:
        """Run one call with arguments that satisfy `parameters`.

        Raises `ToolError` for what the model can mend, `InfrastructureError` for what it
        cannot. May be cancelled at any await when the call's deadline passes.
        """

    async def aclose(self) -> None:
        """Free what the episode held. Called once for each instance of `for_episode`."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the description in the OpenAI function form that chat templates expect."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }


class FunctionTool(Tool):
    """A tool made of one stateless function; made by `@tool`.

    A plain function runs in a worker thread, so that it cannot stall other episodes, unless
    it was declared `blocking=False` (it returns in microseconds).
    """

    def __init__(
        self, function: Callable[..., Any], signature: Signature, *, name: str, blocking: bool,
        replay: Replay = "once",
    ) -> None:  # fmt: skip
        self.name = name
        self.replay = replay
        self.description = signature.description
        self.parameters = signature.parameters
        self.function = function
        self._read = signature.read
        self.__module__ = function.__module__
        self._is_async = inspect.iscoroutinefunction(function)
        self._blocking = blocking
        self.instant = not (blocking or self._is_async)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, as functions are: the module's attribute is the tool, or the function."""
        name = self.function.__qualname__
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not self.function:
            return name
        return _remade, (self.function, self.name, self._blocking, self.replay)

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        """Call the function itself, for unit tests of it."""
        return self.function(*args, **arguments)

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult | str:
        """Call the function; what it returns becomes text (`shown`) if it is no `ToolResult`."""
        if self._read is not None:
            arguments = self._read(arguments)
        if self._is_async:
            value = await self.function(**arguments)
        elif self._blocking:
            value = await in_thread(functools.partial(self.function, **arguments))
        else:
            value = self.function(**arguments)
        if inspect.iscoroutine(value):  # an async function, behind a decorator that hides it
            value = await value
        return value if isinstance(value, ToolResult) else shown(value)


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(
    *, name: str | None = None, blocking: bool = True, replay: Replay = "once"
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None,
    blocking: bool = True, replay: Replay = "once",
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:  # fmt: skip
    """Make a tool of a function: the schema comes from its type hints and its docstring.

    Raises `UsageError` for a parameter without a type hint, or with one that cannot be resolved or
    has no JSON form, for a docstring that says nothing, and for what is no function.
    """
    if replay not in REPLAYS:
        raise unknown("replay", replay, REPLAYS)

    def make(function: Callable[..., Any]) -> FunctionTool:
        _refuse_bound(function)
        signature = signature_of(function)
        known = function.__name__ if name is None else name
        return FunctionTool(
            function, signature, name=checked_name(known), blocking=blocking, replay=replay
        )

    return make if function is None else make(function)


def checked_name(name: object) -> str:
    """Return a tool's name. Raises `UsageError` for one that could not be shown to a model."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f"name: {brief(name)}; expected a printable text, not empty")
    return name


def _remade(
    function: Callable[..., Any], name: str, blocking: bool, replay: Replay
) -> FunctionTool:
    return tool(name=name, blocking=blocking, replay=replay)(function)


def _refuse_bound(function: object) -> None:
    """Raise `UsageError` for the method of an object, which all episodes would write into."""
    while isinstance(function, functools.partial):
        function = function.func
    inner = inspect.unwrap(function) if callable(function) else function
    owner = getattr(inner, "__self__", None)
    if inspect.isfunction(inner) and next(iter(inspect.signature(inner).parameters), "") == "self":
        raise UsageError(
            f"tool {inner.__name__}: a method; derive its class from ToolSet and give the class"
        )
    if owner is None or isinstance(owner, types.ModuleType | type):
        return
    kind = type(owner).__name__
    raise UsageError(
        f"tool {getattr(inner, '__name__', 'method')}: a method of one {kind}, which all episodes"
        f" would share; derive {kind} from ToolSet and give the class: tools=[{kind}]"
    )
