"""An environment in the form of TRL's `environment_factory`, for a stock `GRPOTrainer`.

```python
from trl import GRPOConfig, GRPOTrainer

from qwq_env.interop.trl_factory import EnvironmentFactory

factory = EnvironmentFactory("qwq/MathTool-v0", tokenizer)
trainer = GRPOTrainer(
    model=model,
    args=GRPOConfig(..., max_tool_calling_iterations=factory.iterations),
    processing_class=tokenizer,
    train_dataset=factory.dataset(1000),
    environment_factory=factory,
    reward_funcs=factory.reward,
)
```

TRL's loop renders the tokenizer's chat template, reads the calls and runs them; each runs here as
any call does, on the tools of an episode of its own. When a completion is whole, the episode takes
its turns with the results that the calls got, and pays and ends as it would have anywhere else.

Why one would rather take `Rollouts`, which is the same trainer with `rollout_func`: TRL runs tools
one after another, knows no user that replies and no tools that differ from task to task (such
environments are refused here), ends an episode at the first turn whose calls it cannot read, and
cannot leave out one that our machinery lost: such a one is given the mean of its group, so that it
teaches nothing by itself.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from qwq_env import portal
from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.errors import InfrastructureError, UsageError, brief
from qwq_env.interop.extra import extra
from qwq_env.messages import read_assistant
from qwq_env.outcome import Limit, Outcome
from qwq_env.registry import make_environment
from qwq_env.tool import Tool
from qwq_env.toolbox import Toolbox
from qwq_env.turn import CallResult, MalformedCall, ToolCall

with extra("train"):
    import datasets

_TYPES: Final[Mapping[str, Any]] = {
    "string": str, "integer": int, "number": float, "boolean": bool,
}  # fmt: skip
_TAKEN: Final = ("reset", "get_reward")
_OVER: Final = "Error: not run: the episode is over"
_log = logging.getLogger(__name__)


class EnvironmentFactory:
    """Makes what TRL takes for an environment: an object with `reset`, whose methods are the tools.

    `tokenizer` is the trainer's. Raises `UsageError` for an environment that TRL's loop cannot
    play: one that replies to the model, or whose tools differ from task to task.
    """

    def __init__(self, env: ToolEnv | str, tokenizer: Any) -> None:
        self.env = make_environment(env) if isinstance(env, str) else env
        self._tokenizer = tokenizer
        if self.env.settings.reply is not None:
            raise UsageError(
                "environment: replies to the model's turns, and TRL's loop ends at a turn without"
                " a call; expected one that does not, or Rollouts in place of environment_factory"
            )
        for tool in self.env.settings.tools:
            if tool.name.startswith("_") or tool.name in _TAKEN:
                expected = f"none with an underscore in front, and not {' or '.join(_TAKEN)}"
                raise UsageError(f"tool {tool.name}: TRL does not take it by that name; {expected}")
        methods = {tool.name: _method(tool) for tool in self.env.settings.tools}
        self._kind: type[TrlEnvironment] = type(type(self.env).__name__, (TrlEnvironment,), methods)

    def __call__(self) -> TrlEnvironment:
        """Return an environment; TRL makes one for each episode of a batch, and reuses them."""
        return self._kind(self.env, self._tokenizer)

    @property
    def iterations(self) -> int | None:
        """What `GRPOConfig.max_tool_calling_iterations` is for the environment's limit of turns."""
        turns = self.env.settings.limits.turns
        return None if turns is None else max(1, turns - 1)

    def dataset(self, size: int, *, seed: int = 0) -> Any:
        """Return the first `size` tasks as rows: `prompt`, `task_id`, and a `seed` for each."""
        count = size if self.env.tasks.size is None else min(size, self.env.tasks.size)
        tasks = [self.env.tasks.task(number) for number in range(count)]
        rows = [
            {
                "prompt": [dict(m) for m in task.conversation(self.env.settings.system_prompt)],
                "task_id": task.id,
                "seed": seed + number,
            }
            for number, task in enumerate(tasks)
        ]
        return datasets.Dataset.from_list(rows)

    def reward(
        self,
        completions: Sequence[Sequence[Mapping[str, Any]]],
        completion_ids: Sequence[Sequence[int]],
        environments: Sequence[TrlEnvironment],
        task_id: Sequence[str],
        **_: Any,
    ) -> list[float | None]:
        """Return what each episode is paid; a lost one gets the mean of its task's others.

        One of `reward_funcs`. Without others of its task here, it gets None, which TRL takes for 0.
        """
        ends = {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        paid = [
            portal.run(environment._finish(messages, cut=not ids or ids[-1] not in ends))
            for messages, ids, environment in zip(
                completions, completion_ids, environments, strict=True
            )
        ]
        known: defaultdict[str, list[float]] = defaultdict(list)
        for task, value in zip(task_id, paid, strict=True):
            if value is not None:
                known[task].append(value)
        return [
            sum(known[task]) / len(known[task]) if value is None and known[task] else value
            for task, value in zip(task_id, paid, strict=True)
        ]


class TrlEnvironment:
    """One episode after another, as TRL drives them; its subclasses have the tools as methods.

    To TRL, every method without an underscore in front is a tool.
    """

    def __init__(self, env: ToolEnv, tokenizer: Any) -> None:
        self._env, self._tokenizer = env, tokenizer
        self._episode: Episode | None = None
        self._results: list[CallResult] = []

    def reset(self, *, task_id: str, seed: int = 0, **_: Any) -> None:
        """Begin an episode of a task; the prompt lies in the dataset."""
        portal.run(self._begin(task_id, seed))

    @property
    def outcome(self) -> Outcome | None:
        """How the episode ended, None before."""
        return None if self._episode is None else self._episode.outcome

    async def _begin(self, task_id: str, seed: int) -> None:
        if self._episode is not None:
            await self._episode.aclose()
        self._episode, self._results = None, []
        try:
            task = self._env.tasks.find(task_id)
        except KeyError:
            raise UsageError(f"task_id: no task {brief(task_id)} in this set") from None
        try:
            episode = self._env.begin(task, seed=seed)
        except InfrastructureError as error:
            _log.warning("task %s: its episode is lost: %s", task_id, error)
            return
        if [each.name for each in episode.settings.tools] != [
            each.name for each in self._env.settings.tools
        ]:
            await episode.aclose()
            raise UsageError(
                f"environment: task {brief(task_id)} has tools of its own, and TRL's loop takes the"
                " same for all; expected Rollouts in place of environment_factory"
            )
        if episode.settings.limits.tokens is not None:
            episode.count_with(lambda text: len(self._tokenizer.encode(text)))
        self._episode = episode
        try:
            await episode.start()
            episode.open()
        except InfrastructureError as error:
            await episode.lose("infrastructure", str(error))

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        """Run a call as one of an episode's; what it got is kept for the turn that made it."""
        episode = self._episode
        if episode is None or episode.outcome is not None:
            return _OVER
        most = episode.settings.limits.tool_calls
        if most is not None and len(self._results) >= most:
            return _OVER
        try:
            [result] = await episode.toolbox.run([ToolCall(name, arguments)])
        except InfrastructureError as error:
            await episode.lose("infrastructure", str(error))
            return _OVER
        self._results.append(result)
        return result.content

    async def _finish(self, messages: Sequence[Mapping[str, Any]], *, cut: bool) -> float | None:
        """Take the completion's turns; return what they are paid, None for an episode that is lost.

        `cut` says that it does not end as a turn does.
        """
        if (episode := self._episode) is None:
            return None
        known = _KnownResults(episode.toolbox, self._results)
        episode.toolbox = cast(Toolbox, known)
        turns = [message for message in messages if message.get("role") == "assistant"]
        try:
            await _take(episode, turns, known, cut)
        except InfrastructureError as error:
            _log.warning("task %s: its episode is lost: %s", episode.task_id, error)
        return episode.paid


async def _take(
    episode: Episode, turns: Sequence[Mapping[str, Any]], known: _KnownResults, cut: bool
) -> None:
    """Take the turns until an outcome, and end the episode where TRL ended it."""
    limit: Limit = "tokens" if cut else "turns"
    for number, message in enumerate(turns, 1):
        if episode.outcome is not None:
            return
        turn, last = read_assistant(message, episode.settings.dialect), number == len(turns)
        if last and turn.calls:
            if not known.holds(turn.calls):
                break
            # TRL ran them, and found no room for what they said.
            limit = "tokens"
        await episode.step(turn, cut=last and cut)
    if episode.outcome is None:
        await episode.truncate(limit, "TRL's loop ended here")


class _KnownResults:
    """Stands in for a toolbox whose calls were run already, and gives their results in order."""

    def __init__(self, live: Toolbox, results: Sequence[CallResult]) -> None:
        self._live, self._results = live, list(results)
        self.counts, self.state, self.aclose = live.counts, live.state, live.aclose

    def holds(self, calls: Sequence[ToolCall]) -> bool:
        return bool(self._results) and any(
            result.name == call.name for result, call in zip(self._results, calls, strict=False)
        )

    async def run(self, requests: Sequence[ToolCall | MalformedCall]) -> list[CallResult]:
        return [await self._one(request) for request in requests]

    async def _one(self, request: ToolCall | MalformedCall) -> CallResult:
        if isinstance(request, ToolCall):
            if self._results and self._results[0].name == request.name:
                return self._results.pop(0)
            return CallResult(request.name, "Error: not run", "policy_error", "unknown_tool")
        [result] = await self._live.run([request])
        return result


def _method(tool: Tool) -> Callable[..., str]:
    """Return the tool as a method from whose signature and docstring Transformers reads a schema.

    What a type hint and a line cannot say of an argument stands in its description as JSON.
    """

    def method(self: TrlEnvironment, **arguments: Any) -> str:
        return portal.run(self._call(tool.name, arguments))

    properties = tool.parameters.get("properties", {})
    required = set(tool.parameters.get("required", ()))
    hints = {name: _hint(schema) for name, schema in properties.items()}
    # Those without a default come first, or Python takes them for no signature.
    names = sorted(properties, key=lambda name: name not in required)
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name in names:
        default = inspect.Parameter.empty if name in required else properties[name].get("default")
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name]
            )
        )
    lines = [f"    {name}: {_described(properties[name])}" for name in names]
    method.__name__ = method.__qualname__ = tool.name
    method.__doc__ = "\n".join([" ".join(tool.description.split()), "", "Args:", *lines])
    method.__annotations__ = dict(hints)
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return method


def _hint(schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "array" and (inner := _hint(schema.get("items", {}))) is not Any:
        return list[inner]  # type: ignore[valid-type]
    return _TYPES.get(kind, Any) if isinstance(kind, str) else Any


def _described(schema: Any) -> str:
    said = " ".join(str(schema.get("description", "")).split())
    if isinstance(choices := schema.get("enum"), list):
        return f"{said or 'One of these.'} (choices: {json.dumps(choices)})"
    if _hint(schema) is Any:
        rest = {key: value for key, value in schema.items() if key != "description"}
        return f"{said} JSON schema: {json.dumps(rest)}".strip()
    return said or "As its name says."
