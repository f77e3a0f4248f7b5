"""One episode of an environment as an example, solved by the environment itself."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, repeat
from typing import Any, NamedTuple

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import member_of
from qwq_env.registry import make_environment

_MOST_REPEATED = 8


class ExampleEpisode(NamedTuple):
    """The messages of an episode, the opening ones included, and what it was paid."""

    task_id: str
    messages: list[Mapping[str, Any]]
    reward: float


def example_episode(environment: str | ToolEnv) -> ExampleEpisode:
    """Play the solution of an environment's first task.

    Raises `UsageError` for an id that cannot be made without arguments.
    """
    try:
        env = environment if isinstance(environment, ToolEnv) else make_environment(environment)
    except TypeError as error:
        raise UsageError(f"environment: {error}") from None
    task = env.tasks.task(0)
    answer = member_of(env, task)[1].phrase_answer(str(task.answer))
    turns = env.solve(task) or [{"role": "assistant", "content": answer}]
    _, info = env.reset(seed=0, options={"task": task})
    messages, reward = list(info["messages"]), 0.0
    for turn in chain(turns, repeat(turns[-1], _MOST_REPEATED)):
        _, reward, terminated, truncated, info = env.step(turn)
        messages += info["messages"]
        if terminated or truncated:
            break
    env.close()
    return ExampleEpisode(task.id, messages, reward)
