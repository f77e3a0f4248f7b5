"""Any environment as an OpenEnv server, to be driven over a websocket.

    qwq serve openenv qwq/MathTool-v0 --http 8000

```python
from openenv import GenericEnvClient

async with GenericEnvClient(base_url="http://127.0.0.1:8000") as client:
    result = await client.reset(seed=0)             # or task_id=..., or index=...
    while not result.done:
        turn = model(result.observation["messages"], result.observation["tools"])
        result = await client.step({"turn": turn})  # its text, or an assistant message
    print(result.reward, result.observation["outcome"])
```

A session is a `ToolEnv` of its own on the same tasks, so what `env.reset` and `env.step` give for
a seed is what a client gets. The reward is None until the end, and for an episode that was lost,
whose outcome says so. The reference answer and the state of tools stay here.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Coroutine
from typing import Any

from qwq_env import portal
from qwq_env._version import __version__
from qwq_env.checks import check_positive, check_whole
from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.interop.extra import extra
from qwq_env.interop.guard import LARGEST_REQUEST, MOST_CONNECTIONS, Guard
from qwq_env.registry import make_environment

with extra("openenv"):
    import uvicorn
    from openenv.core.env_server.http_server import create_fastapi_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import (
        Action,
        ConcurrencyConfig,
        EnvironmentMetadata,
        Observation,
        State,
    )
    from pydantic import Field


class TurnAction(Action):  # type: ignore[misc]  # its package is read without types
    """The model's turn."""

    turn: str | dict[str, Any] = Field(description="its text, or an assistant message")


class TurnObservation(Observation):  # type: ignore[misc]  # its package is read without types
    """What the model reads next."""

    text: str = Field(default="", description="the transcript's continuation, markup included")
    messages: list[dict[str, Any]] = Field(
        default_factory=list, description="the new messages; after a reset the opening ones"
    )
    tools: list[dict[str, Any]] = Field(
        default_factory=list,
        description="the tools, in the OpenAI form; after a reset, and where more are offered",
    )
    task_id: str = Field(default="", description="which task it is")
    outcome: dict[str, str] | None = Field(
        default=None, description="at the end: its kind, reason and detail"
    )
    answer: str | None = Field(default=None, description="at the end: what was graded")


class EpisodeEnvironment(Environment):  # type: ignore[misc]  # its package is read without types
    """One session: the episodes that one client plays, one after the other."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env: ToolEnv, env_id: str) -> None:
        super().__init__()
        self._env = copy.copy(env)
        self._env.episode, self._env._np_random = None, None
        self._env_id = env_id
        self._state = State()

    async def reset_async(
        self, seed: int | None = None, episode_id: str | None = None, **options: Any
    ) -> TurnObservation:
        """Begin an episode. `options` are `ToolEnv.reset`'s `task_id` and `index`."""
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise UsageError(f"seed: {brief(seed)}; expected a whole number, 0 or more")
        if "task" in options:
            raise UsageError("reset: task; expected task_id or index")
        prompt, info = await portal.reach(self._env.areset(seed=seed, options=options))
        self._state = State(episode_id=episode_id, task_id=info["task_id"])
        messages = [dict(message) for message in info["messages"]]
        return TurnObservation(
            text=prompt, messages=messages, tools=info["tools"], task_id=info["task_id"]
        )

    async def step_async(
        self, action: TurnAction, timeout_s: float | None = None, **_: Any
    ) -> TurnObservation:
        """Take a turn. One that takes longer than `timeout_s` is given up, and the episode lost."""
        step = portal.reach(self._env.astep(action.turn))
        text, reward, terminated, truncated, info = await asyncio.wait_for(step, timeout_s)
        self._state.step_count += 1
        done = terminated or truncated
        return TurnObservation(
            text=text,
            messages=info["messages"],
            tools=info.get("tools", []),
            task_id=info["task_id"],
            done=done,
            reward=reward if done and not math.isnan(reward) else None,
            outcome=info.get("outcome"),
            answer=info.get("answer"),
        )

    def reset(self, *arguments: Any, **named: Any) -> TurnObservation:
        """Begin an episode, from synchronous code."""
        return _now(self.reset_async(*arguments, **named))

    def step(self, *arguments: Any, **named: Any) -> TurnObservation:
        """Take a turn, from synchronous code."""
        return _now(self.step_async(*arguments, **named))

    @property
    def state(self) -> State:
        """How far the episode is."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """Say which environment this is."""
        described = (type(self._env).__doc__ or self._env_id).strip().splitlines()[0]
        return EnvironmentMetadata(name=self._env_id, description=described, version=__version__)

    def close(self) -> None:
        """Give up the running episode."""
        self._env.close()


def _now(coroutine: Coroutine[Any, Any, TurnObservation]) -> TurnObservation:
    return portal.run(coroutine)


def openenv_app(
    env: ToolEnv | str,
    *,
    host: str = "127.0.0.1",
    key: str | None = None,
    sessions: int = 64,
    idle_seconds: float = 600.0,
) -> Any:
    """Return the ASGI application that serves an environment, or the one of that id.

    At most `sessions` live at a time; one that is silent for `idle_seconds` ends. With a `key`,
    requests must carry it as a bearer's token. Raises `UsageError` for an address that others
    reach, without one, and for an id that there is not.
    """
    check_whole("sessions", sessions)
    check_positive("idle_seconds", idle_seconds)
    env_id = env if isinstance(env, str) else type(env).__name__
    made = make_environment(env) if isinstance(env, str) else env
    bounds = ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=idle_seconds)
    app = create_fastapi_app(
        lambda: EpisodeEnvironment(made, env_id),
        TurnAction,
        TurnObservation,
        concurrency_config=bounds,
        env_name=env_id.replace("/", "_"),
    )
    return Guard(app, host=host, key=key)


def serve(env: ToolEnv | str, *, host: str, port: int, **options: Any) -> None:
    """Serve at `http://host:port` until interrupted; `options` are those of `openenv_app`."""
    app = openenv_app(env, host=host, **options)
    uvicorn.run(
        app, host=host, port=port, log_level="warning", ws_max_size=LARGEST_REQUEST,
        limit_concurrency=MOST_CONNECTIONS,
    )  # fmt: skip
