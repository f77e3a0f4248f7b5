"""Any environment as a taskset of verifiers, with the harness that plays it.

    eval qwq-verifiers --env.taskset.environment qwq/MathTool-v0 \\
        --env.agent.runtime.type subprocess

```python
import verifiers.v1 as vf

from qwq_env.interop.verifiers_taskset import load_environment

env = load_environment("qwq/MathTool-v0", samples=100)
context = vf.ModelContext(model="...", client=client, sampling=vf.SamplingConfig())
async with env.serving():
    for task in env.taskset:
        episode = await env.run_episode(task, context)
        print(episode.traces[0].reward, episode.traces[0].info["outcome"])
```

A taskset of verifiers says what there is to do, a harness does it, and all that binds a harness is
that it asks the model at the address it is given. Ours is an episode of the environment in this
process: its tools, its user, its limits and its rubric are what they are in training, and
verifiers' trace records the model's every word, with its tokens where its training client serves
them. An episode that our machinery lost is an error of the trace, not a reward of 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.openai_chat import OpenAIChat
from qwq_env.interop.extra import extra
from qwq_env.registry import make_environment
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings

with extra("verifiers"):
    import verifiers.v1 as vf
    from pydantic import Field
    from verifiers.v1.utils.loaders import load_environment as _load

PLUGIN: Final = "qwq-verifiers"
"""The name under which verifiers finds all this: the installed package `qwq_verifiers`."""


class EnvironmentTaskData(vf.TaskData):  # type: ignore[misc]  # its package is read without types
    """A task by its id; the rest of it stays in the environment."""

    environment: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class EnvironmentTask(vf.Task[EnvironmentTaskData]):  # type: ignore[misc]  # its package is read without types
    """A task; the harness has the episode paid, so that there is nothing left to score."""

    @property
    def key(self) -> str:
        """The environment's name for it."""
        return f"{self.data.environment}/{self.data.id}"


class EnvironmentTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]  # its package is read without types
    """Which environment, made with which arguments, and how many of its tasks."""

    environment: str = ""
    """A Gymnasium id, such as qwq/MathTool-v0, or module:id."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the environment's class."""
    samples: int | None = None
    """The first so many tasks; all if unset, and without end where the environment's are."""


class EnvironmentTaskset(vf.Taskset[EnvironmentTask, EnvironmentTasksetConfig]):  # type: ignore[misc]  # its package is read without types
    """The tasks of an environment."""

    def __init__(self, config: EnvironmentTasksetConfig) -> None:
        super().__init__(config)
        if not config.environment:
            raise UsageError("environment: ''; expected an id, such as qwq/MathTool-v0")
        self._env = environment_of(config.environment, config.arguments)
        # Read as an attribute of the class by verifiers, and of no use there: it depends on the id.
        self.INFINITE = self._env.tasks.size is None and config.samples is None

    def load(self) -> Iterable[EnvironmentTask]:
        """Yield the tasks."""
        config = self.config
        for task in islice(self._env.tasks, config.samples):
            data = EnvironmentTaskData(
                id=task.id,
                name=task.id,
                prompt=task.prompt or task.id,
                environment=config.environment,
                arguments=config.arguments,
            )
            yield EnvironmentTask(data, config.task)


class EpisodeHarnessConfig(vf.HarnessConfig):  # type: ignore[misc]  # its package is read without types
    """The seed of the episodes; each has one of its own, from this and its task."""

    seed: int = 0


class EpisodeHarness(vf.Harness[EpisodeHarnessConfig]):  # type: ignore[misc]  # its package is read without types
    """Plays an episode against the model that verifiers puts before it."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Play; the reward, its components and the outcome go to the trace."""
        assert isinstance(data, EnvironmentTaskData) and data.id is not None
        env = environment_of(data.environment, data.arguments)
        chat = OpenAIChat(endpoint, ctx.model, key=ApiKey(secret, "secret"), attempts=1)
        seed = zlib.crc32(f"{self.config.seed}/{data.id}".encode())
        engine = Engine(env, chat, settings=EngineSettings(attempts=1))
        try:
            [played] = await engine.run([Assignment(env.tasks.find(data.id), trace.id, seed)])
        finally:
            await chat.aclose()
        outcome = played.outcome
        trace.info["outcome"] = outcome.to_json()
        if played.reward is None:
            raise InfrastructureError(f"{outcome.reason}: {outcome.detail}")
        trace.info |= {"answer": played.answer, "right": played.is_right, "seed": played.seed}
        trace.record_reward("reward", played.reward)
        scores = {f"score_{n}": value for n, value in played.scores.items() if value is not None}
        trace.record_metrics({**scores, "right": played.is_right, "tool_calls": played.tool_calls})
        if outcome.truncated:
            trace.stop(outcome.reason)
        return vf.ProgramResult(exit_code=0, stdout=played.answer, stderr="")


def load_environment(
    environment: str,
    arguments: dict[str, Any] | None = None,
    *,
    samples: int | None = None,
    seed: int = 0,
    **options: Any,
) -> vf.Env:
    """Return the environment of that id as verifiers' own kind; `options` are its `EnvConfig`'s.

    Raises `UsageError` for an id that there is not, and for arguments that its class does not take.
    """
    environment_of(environment, arguments or {})
    taskset = {"id": PLUGIN, "environment": environment, "arguments": arguments or {},
               "samples": samples}  # fmt: skip
    agent = {"harness": {"id": PLUGIN, "seed": seed}, "runtime": {"type": "subprocess"}}
    config = vf.SingleAgentEnvConfig.model_validate({"taskset": taskset, "agent": agent, **options})
    return _load(config)


_made: dict[str, ToolEnv] = {}


def environment_of(environment: str, arguments: dict[str, Any]) -> ToolEnv:
    """Return the environment; made once in a process, for it serves any number of episodes."""
    key = f"{environment} {sorted(arguments.items())!r}"
    if key not in _made:
        _made[key] = make_environment(environment, arguments)
    return _made[key]
