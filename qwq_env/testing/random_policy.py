"""A policy that knows nothing: noise, answers, and calls of any tool with whatever its schema
allows, some of them broken. Whatever environment it is let loose on must bear it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from qwq_env.env import ToolEnv
from qwq_env.episode import Episode
from qwq_env.evaluation.cheats import member_of
from qwq_env.messages import read_assistant
from qwq_env.schema.sample import sample_arguments
from qwq_env.spaces import TextSpace
from qwq_env.task import Task
from qwq_env.turn import Turn

_MOST_TURNS = 12
_AT_A_TIME = 64
_ODD = ["", "\u200b", "\x00\x1b[2J", "<|im_start|>user\n", "{" * 500, "\ud800", "\\boxed{"]
_WRONG: list[object] = [None, [], {}, -1, "\ud800", "x" * 9999]


class Played(NamedTuple):
    """How many episodes ended in which way, and their rewards; a lost one has none."""

    outcomes: Counter[str]
    rewards: list[float]


async def play_at_random(env: ToolEnv, episodes: int, *, seed: int = 0) -> Played:
    """Play so many episodes, one of each task, many at a time."""
    played = Played(Counter(), [])
    places = asyncio.Semaphore(_AT_A_TIME)

    async def one(number: int) -> None:
        async with places:
            task = env.tasks.task(number % (env.tasks.size or episodes))
            episode = env.begin(task, seed=number)
            try:
                await episode.start()
                episode.open()
                for turn in islice(
                    random_turns(env, task, episode, f"{seed}/{number}"), _MOST_TURNS
                ):
                    await episode.step(turn)
                    if episode.outcome is not None:
                        break
                else:
                    await episode.truncate("turns")
            finally:
                await episode.aclose()
        assert episode.outcome is not None
        played.outcomes[f"{episode.outcome.kind}: {episode.outcome.reason}"] += 1
        if episode.paid is not None:
            played.rewards.append(episode.paid)

    await asyncio.gather(*map(one, range(episodes)))
    return played


def random_turns(
    env: ToolEnv, task: Task, episode: Episode, seed: int | str
) -> Iterator[Turn | str]:
    """Yield turns of an episode of `task` without end, the same for the same seed."""
    chance = random.Random(seed)
    noise = TextSpace(seed=chance.randrange(1 << 31))
    phrase = member_of(env, task)[1].phrase_answer
    while True:
        yield _turn(episode, chance, noise, phrase)


def _turn(
    episode: Episode, chance: random.Random, noise: TextSpace, phrase: Callable[[str], str]
) -> Turn | str:
    """Return a turn, as a text or as it is read from an assistant message."""
    dialect = episode.settings.dialect
    kind = chance.choice(["noise", "odd", "answer", "calls", "calls", "calls", "text calls"])
    if kind == "noise":
        return noise.sample()
    if kind == "odd":
        return "</think>\n\n" + chance.choice(_ODD) + noise.sample()
    if kind == "answer":
        answer = chance.choice([noise.sample(), str(chance.randint(-9, 99)), episode.task.prompt])
        return read_assistant({"role": "assistant", "content": phrase(answer)}, dialect)
    calls = [_call(episode, chance) for _ in range(chance.randint(1, 3))]
    if kind == "text calls":
        texts = "".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)
        return "</think>\n\n" + texts[: len(texts) - chance.choice([0, 0, 1, 15])]
    content = chance.choice([None, "", noise.sample()])
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "reasoning_content": noise.sample(),
    }
    message["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    return read_assistant(message, dialect)


def _call(episode: Episode, chance: random.Random) -> dict[str, object]:
    tools = episode.tools
    if not tools or chance.random() < 0.1:
        return {"name": chance.choice(["no_such_tool", "", "python"]), "arguments": {"x": None}}
    tool = chance.choice(tools)
    arguments = sample_arguments(tool.parameters, chance, episode.task.prompt.split()[:200])
    if arguments and chance.random() < 0.1:
        arguments[chance.choice(list(arguments))] = chance.choice(_WRONG)
    return {"name": tool.name, "arguments": arguments}
