"""A vector environment whose tools overlap.

`gymnasium.vector.SyncVectorEnv` steps one environment after another, so eight tools of a second
take eight seconds; `AsyncVectorEnv` pays a process for each. `ToolVectorEnv` steps all episodes on
one event loop: eight tools of a second take a second. `gym.make_vec` gives it by default.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from qwq_env import portal
from qwq_env.checks import check_whole
from qwq_env.env import Action, ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.outcome import Outcome
from qwq_env.reset_needed import ResetNeeded

Texts = tuple[str, ...]


class ToolVectorEnv(VectorEnv[Texts, Texts, np.ndarray]):
    """`num_envs` episodes side by side. An ended one is reset by the step after its end; one that
    our machinery cannot begin ends there and then, with a reward of NaN.

    Observations and actions are tuples of texts; rewards, terminations and truncations arrays of
    shape (num_envs,). `info` is batched as Gymnasium does it. `reset(options=...)` takes what
    `ToolEnv.reset` does; `reset_mask`, (num_envs,) of bool, restricts it to some episodes.

    `max_episode_steps` truncates an episode at that many steps, as `gym.make`'s keyword does; the
    outcome names the limit `turns`. None and -1 mean no such limit.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own declaration
        **ToolEnv.metadata,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self, make: Callable[[], ToolEnv], num_envs: int, *, max_episode_steps: int | None = None
    ) -> None:
        self.envs: list[ToolEnv] = []  # what is refused below is closed all the same
        if not isinstance(num_envs, int) or num_envs < 1:
            raise UsageError(f"num_envs: {num_envs!r}; expected a whole number, 1 or more")
        if max_episode_steps == -1:
            max_episode_steps = None
        check_whole("max_episode_steps", max_episode_steps, optional=True)
        self.num_envs = num_envs
        self._most_steps = max_episode_steps
        self._steps = [0] * num_envs
        self.envs += (make() for _ in range(num_envs))
        self.render_mode = self.envs[0].render_mode
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations = [""] * num_envs
        self._begun = False
        self._ended = np.ones(num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Texts, dict[str, Any]]:
        """Begin episodes; an integer seed gives the episodes seed, seed + 1, ...

        Raises `UsageError` for a seed or a mask of another length.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UsageError(f"reset_mask: {mask!r}; expected ({self.num_envs},) of bool, one true")
        seeds = self._seeds(seed)
        return portal.run(self._reset(seeds, options, mask))

    def step(
        self, actions: Sequence[Action]
    ) -> tuple[Texts, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one turn in every episode, all at the same time.

        Raises `UsageError` for anything but one text or assistant message an episode, before any
        episode is stepped.
        """
        if not self._begun:
            raise ResetNeeded("step was called before reset; call reset first")
        # A text is a sequence of texts too: one character for each episode.
        if isinstance(actions, str | Mapping) or not isinstance(actions, Sequence | np.ndarray):
            raise UsageError(f"actions: {actions!r:.80}; expected a sequence of texts")
        if len(actions) != self.num_envs:
            raise UsageError(f"actions: {len(actions)} of them; expected {self.num_envs}")
        for index, action in enumerate(actions):
            if action not in self.single_action_space:
                expected = "the turn's text or an assistant message"
                kind = type(action).__name__
                raise UsageError(f"actions: {kind} at {index}; expected {expected}")
        return portal.run(self._step(actions))

    def render(self) -> tuple[Any, ...]:
        """Return each episode's rendering."""
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()

    def _seeds(self, seed: int | Sequence[int | None] | np.ndarray | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + i for i in range(self.num_envs)]
        if not isinstance(seed, Sequence | np.ndarray):
            raise UsageError(f"seed: {seed!r}; expected an integer, or one for each episode")
        if len(seed) != self.num_envs:
            raise UsageError(f"seed: {len(seed)} of them; expected {self.num_envs}")
        return [None if each is None else int(each) for each in seed]

    async def _reset(
        self, seeds: list[int | None], options: Mapping[str, Any], mask: np.ndarray
    ) -> tuple[Texts, dict[str, Any]]:
        chosen = [int(index) for index in np.flatnonzero(mask)]
        results = await asyncio.gather(
            *(self.envs[i].areset(seed=seeds[i], options=options) for i in chosen)
        )
        infos: dict[str, Any] = {}
        for i, (observation, info) in zip(chosen, results, strict=True):
            self._observations[i] = observation
            self._steps[i] = 0
            infos = self._add_info(infos, info, i)
        self._ended[mask] = False
        self._begun = True
        return tuple(self._observations), infos

    async def _step(
        self, actions: Sequence[Action]
    ) -> tuple[Texts, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        results = await asyncio.gather(
            *(self._step_one(index, action) for index, action in enumerate(actions))
        )
        observations, rewards, terminated, truncated, single_infos = zip(*results, strict=True)
        infos: dict[str, Any] = {}
        for index, info in enumerate(single_infos):
            infos = self._add_info(infos, info, index)
        self._observations = list(observations)
        terminations = np.array(terminated, dtype=np.bool_)
        truncations = np.array(truncated, dtype=np.bool_)
        self._ended = terminations | truncations
        return tuple(observations), np.array(rewards), terminations, truncations, infos

    async def _step_one(
        self, index: int, action: Action
    ) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._ended[index]:
            try:
                observation, info = await self.envs[index].areset()
            except InfrastructureError as error:
                # Lost before its first turn; those beside it go on, and the next step tries again.
                lost = Outcome.lost("infrastructure", str(error))
                return "", math.nan, True, False, {"outcome": lost.to_json()}
            self._steps[index] = 0
            return observation, 0.0, False, False, info
        observation, reward, terminated, truncated, info = await self.envs[index].astep(action)
        self._steps[index] += 1
        if self._most_steps is not None and self._steps[index] >= self._most_steps:
            truncated = True
            info.setdefault("outcome", Outcome.cut("turns").to_json())
        return observation, reward, terminated, truncated, info


def vector_of(environment: type[ToolEnv]) -> Callable[..., gym.vector.VectorEnv[Any, Any, Any]]:
    """Return the vector entry point of an environment class, for `gymnasium.register`.

    It takes what the class does, and the keywords of `gym.make` itself.
    """

    def make(
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        disable_env_checker: bool | None = None,
        **arguments: Any,
    ) -> ToolVectorEnv:
        return ToolVectorEnv(
            lambda: environment(**arguments), num_envs, max_episode_steps=max_episode_steps
        )

    return make
