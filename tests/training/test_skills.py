"""The tiny skills of the two stages: what they ask, what they pay, and what is held out."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError

from ..examples import example

skills = example("skills")
ENVIRONMENTS = (skills.TinyCodeEnv, skills.TinyInstructionEnv)


def paid(env: ToolEnv, index: int, turns) -> float:
    async def play() -> float:
        episode = env.begin(env.tasks.task(index))
        await episode.start()
        episode.open()
        for turn in turns:
            step = await episode.step(turn)
        await episode.aclose()
        return step.reward

    return asyncio.run(play())


def solution(env: ToolEnv, index: int) -> str:
    return f"</think>\n\n{env.phrase_answer(str(env.tasks.task(index).answer))}<|im_end|>"


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_the_own_solution_is_paid_and_another_tasks_is_not(kind):
    env = kind()

    assert paid(env, 0, [solution(env, 0)]) == 1.0
    assert paid(env, 0, [solution(env, 1)]) == 0.0


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_what_is_held_out_is_never_trained_on(kind):
    train, heldout = (kind(split=split).tasks for split in ("train", "heldout"))
    asked = [{str(tasks.task(index).answer) for index in range(300)} for tasks in (train, heldout)]

    assert asked[0].isdisjoint(asked[1])
    assert len(asked[1]) > 15
    assert train.find(train.task(7).id) == train.task(7)
    with pytest.raises(KeyError):
        train.find(heldout.task(7).id)


def test_a_reward_model_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="reward_model"):
        skills.TinyInstructionEnv(reward_model=str(tmp_path))


def test_a_reward_model_pays_in_place_of_the_rules():
    env = skills.TinyInstructionEnv(reward_model="judge:http://127.0.0.1:9:model")

    assert [each.name for each in env.settings.rubric.components] == ["reward_model"]
