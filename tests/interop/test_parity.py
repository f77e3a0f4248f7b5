"""The same seeds and the same words come to the same through every door that needs no extra."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from qwq_env.dialect.base import Piece
from qwq_env.vector import ToolVectorEnv

from .parity import SCRIPTS, ParityEnv, by_ids, by_messages, kind_of, told

NUMBERS = range(len(SCRIPTS))
SEED = 5


@pytest.fixture(scope="module")
def drawn_seed() -> int:
    """The episode's seed that an environment draws when it is reset with `SEED`."""
    env = ParityEnv()
    env.reset(seed=SEED, options={"index": 0})
    return env.episode.seed


def reward_of(reward: float) -> float | None:
    return None if math.isnan(reward) else reward


@pytest.mark.parametrize("number", NUMBERS, ids=SCRIPTS)
def test_gymnasium_by_text(number, codec, drawn_seed):
    env, script = ParityEnv(), list(SCRIPTS.values())[number]
    prompt, _ = env.reset(seed=SEED, options={"index": number})
    ids, mask = codec.encode_pieces([Piece(prompt, control=True)]), []
    for said in script:
        text, reward, terminated, truncated, info = env.step(said.text)
        for part, sampled in ((said.text, 1), (text, 0)):
            more = codec.encode_pieces([Piece(part, control=True)])
            ids, mask = ids + more, mask + [sampled] * len(more)
        if terminated or truncated:
            break

    played = asyncio.run(by_ids(codec, number, drawn_seed))
    if played.reward is not None:  # the engine keeps nothing of what was lost
        assert (ids, mask) == (played.ids, played.mask)
    assert reward_of(reward) == played.reward
    assert kind_of(info["outcome"]) == kind_of(played.outcome.to_json())


@pytest.mark.parametrize("number", NUMBERS, ids=SCRIPTS)
def test_gymnasium_by_messages(number, drawn_seed):
    env, script = ParityEnv(), list(SCRIPTS.values())[number]
    messages = list(env.reset(seed=SEED, options={"index": number})[1]["messages"])
    for turn, said in enumerate(script):
        _, reward, terminated, truncated, info = env.step(said.message(turn))
        messages += info["messages"]
        if terminated or truncated:
            break

    came = asyncio.run(by_messages(number, drawn_seed))
    if came.reward is not None:
        assert told(messages) == came.messages
    assert (reward_of(reward), kind_of(info["outcome"])) == (came.reward, came.outcome)


def test_the_vector_environment(codec):
    scripts = list(SCRIPTS.values())
    envs = ToolVectorEnv(ParityEnv, len(scripts))
    for number, env in enumerate(envs.envs):
        env.tasks = type(env.tasks)([env.tasks.task(number)])
    envs.reset(seed=SEED)
    seeds = [env.episode.seed for env in envs.envs]
    ended, rewards, outcomes = np.zeros(len(scripts), bool), {}, {}
    for turn in range(3):
        actions = [script[min(turn, len(script) - 1)].text for script in scripts]
        _, paid, terminated, truncated, info = envs.step(actions)
        for number in np.flatnonzero((terminated | truncated) & ~ended):
            rewards[number] = reward_of(float(paid[number]))
            outcomes[number] = kind_of(
                {key: values[number] for key, values in info["outcome"].items() if key[0] != "_"}
            )
        ended |= terminated | truncated

    for number in NUMBERS:
        played = asyncio.run(by_ids(codec, number, seeds[number]))
        assert (rewards[number], outcomes[number]) == (
            played.reward,
            kind_of(played.outcome.to_json()),
        )
