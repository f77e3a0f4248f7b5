"""Rewards that compare the episodes of a group."""

from __future__ import annotations

import asyncio
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.grading.reward import RewardModel
from qwq_env.grading.score import Score
from qwq_env.outcome import Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.group_reward import GroupReward, check_groups_whole
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model
from qwq_env.trajectory import Trajectory

from .stock_trainer import train


class ByLength(RewardModel):
    """Likes long answers, needs a group, and cannot decide about "?"."""

    needs_group = True

    def __init__(self):
        self.groups = []

    async def score(self, items):
        self.groups.append([item.answer for item in items])
        return [
            Score.undecided("unparsed") if i.answer == "?" else Score.partial(len(i.answer), "so")
            for i in items
        ]


def episode(task: str, answer: str, reward: float | None) -> Trajectory:
    outcome = Outcome.answered() if reward is not None else Outcome.lost("infrastructure")
    return Trajectory(task, answer, 0, [1, 2], 1, [1], [-0.5], [], outcome, reward, answer)


def applied(*episodes, weight=0.5, method="rank"):
    model = ByLength()
    tasks = [Task(one.task_id, "q", "") for one in episodes]
    changed = asyncio.run(GroupReward(model, weight, method).apply(tasks, episodes))
    return changed, model.groups


def test_a_score_that_is_no_number_masks_its_own_episode_only():
    class Broken(ByLength):
        async def score(self, items):
            return [Score(math.nan if i.answer == "?" else len(i.answer), "so") for i in items]

    episodes = [episode("a", answer, 1.0) for answer in ("x", "?", "xx")]
    tasks = [Task("a", "q", "")] * 3
    changed = asyncio.run(GroupReward(Broken(), 0.5).apply(tasks, episodes))

    assert [one.reward for one in changed] == [0.5, None, 1.5]
    assert changed[1].outcome == Outcome.lost("undecided", "group_reward: no_number")


def test_ranks_within_each_group_scale_the_reward():
    changed, groups = applied(
        episode("a", "x", 1.0), episode("b", "xxxx", 2.0), episode("a", "xxx", 1.0),
        episode("b", "xx", 2.0), episode("a", "xx", 1.0),
    )  # fmt: skip

    assert [one.reward for one in changed] == [0.5, 3.0, 1.5, 1.0, 1.0]
    assert sorted(groups) == [["x", "xxx", "xx"], ["xxxx", "xx"]]
    assert changed[2].scores == {"group_reward": 1.0}


def test_two_groups_of_one_task_are_two():
    """Tasks drawn to replace others may be the same one twice."""
    model = ByLength()
    episodes = [episode("a", answer, 1.0) for answer in ("x", "xxx", "xxxx", "xx")]
    tasks = [Task("a", "q", "")] * 4
    changed = asyncio.run(GroupReward(model, 0.5).apply(tasks, episodes, 2))

    assert model.groups == [["x", "xxx"], ["xxxx", "xx"]]
    assert [one.reward for one in changed] == [0.5, 1.5, 1.5, 0.5]


def test_what_the_rules_do_not_pay_is_not_compared():
    changed, groups = applied(
        episode("a", "longest of all", 0.0), episode("a", "x", 1.0), episode("a", "xx", 1.0),
        episode("a", "lost", None),
    )  # fmt: skip

    assert [one.reward for one in changed] == [0.0, 0.5, 1.5, None]
    assert groups == [["x", "xx"]]


def test_the_only_right_answer_keeps_its_reward_unasked():
    changed, groups = applied(episode("a", "x", 1.0), episode("a", "xx", 0.0))

    assert [one.reward for one in changed] == [1.0, 0.0]
    assert groups == []


def test_an_undecided_episode_is_lost_and_never_zero():
    changed, _ = applied(episode("a", "?", 1.0), episode("a", "x", 1.0), episode("a", "xx", 1.0))

    assert [one.reward for one in changed] == [None, 0.5, 1.5]
    assert changed[0].outcome == Outcome.lost("undecided", "group_reward: unparsed")


def test_the_factor_is_never_negative():
    outliers = [episode("a", "x" * 9, 1.0) for _ in range(15)]
    changed, _ = applied(episode("a", "", 1.0), *outliers, weight=0.9, method="z")

    assert changed[0].reward == 0.0


@pytest.mark.parametrize("weight", [0, 1, -0.5, float("nan")])
def test_weights_that_could_turn_a_reward_are_refused(weight):
    with pytest.raises(UsageError, match="weight"):
        GroupReward(ByLength(), weight)


def test_a_stock_trainer_learns_from_the_new_rewards_and_masks_the_lost(tokenizer, tmp_path):
    answers, kept = iter(["x", "xx", "?", "wrong"] * 2), []
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i}", "") for i in range(4)])
    env = ToolEnv(
        tasks, [], Rubric([Component("right", lambda final: float(final.answer != "wrong"))])
    )
    rollouts = Rollouts(
        env,
        tokenizer,
        policy=lambda trainer: ScriptedPolicy(
            rollouts.codec, lambda context: f"</think>{next(answers)}<|im_end|>"
        ),
        group_reward=GroupReward(ByLength(), 0.5),
        on_episode=lambda t, step: kept.append(t),
    )
    trainer = train(
        build_tiny_model(tokenizer, hidden=32), tokenizer, tmp_path, rollouts,
        per_device_train_batch_size=4, max_completion_length=100,
    )  # fmt: skip
    rollouts.close()

    rewards = {one.answer: one.reward for one in rollouts.last}
    assert kept == rollouts.last  # what is stored is what is learned from
    lost = [one.answer for one in rollouts.last].index("?")
    assert rewards == {"x": 0.5, "xx": 1.5, "?": None, "wrong": 0.0}
    learned = (trainer.batch["completion_mask"] * trainer.batch["tool_mask"]).sum(1).bool().tolist()
    assert learned == [i != lost for i in range(4)]
    assert trainer.state.log_history[0]["episode/scores/group_reward"] == 0.0


def settings(**changes) -> SimpleNamespace:
    return SimpleNamespace(**{
        "num_generations": 8, "num_generations_eval": None, "per_device_train_batch_size": 1,
        "steps_per_generation": 8, "per_device_eval_batch_size": 8, **changes,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "ranks", "evaluated", "told"),
    [
        ({}, 2, True, None),
        ({"steps_per_generation": 4}, 1, True, None),
        ({"steps_per_generation": 4}, 2, False, "per_device_train_batch_size .* is 4, .* of 8"),
        ({"steps_per_generation": 12}, 2, False, "is 12, so a group of 8 lies on several ranks"),
        ({"per_device_eval_batch_size": 2}, 2, True, "per_device_eval_batch_size is 2"),
        ({"per_device_eval_batch_size": 2}, 2, False, None),
        ({"per_device_eval_batch_size": 2, "num_generations_eval": 1}, 2, True, None),
    ],
)
def test_a_group_on_several_ranks_is_refused(changes, ranks, evaluated, told):
    """What is compared is what a rank holds: half a group would be ranked by itself."""
    refused = nullcontext() if told is None else pytest.raises(UsageError, match=told)
    with refused:
        check_groups_whole(settings(**changes), ranks, evaluated=evaluated)


def test_a_step_of_which_nothing_could_be_compared_ends_the_training(tokenizer, tmp_path):
    """All are paid by the rules and undecided by the model: there is nothing to learn from."""
    env = ToolEnv(
        ListTaskSet([Task(f"t{i}", f"Task {i}", "") for i in range(4)]), [],
        Rubric([Component("right", lambda final: 1.0)]),
    )  # fmt: skip
    policy = ScriptedPolicy(TokenCodec(tokenizer), ["</think>?<|im_end|>"])
    rollouts = Rollouts(
        env, tokenizer, policy=lambda trainer: policy, group_reward=GroupReward(ByLength(), 0.5)
    )
    with pytest.raises(InfrastructureError, match=r"all episodes of a step were lost.*undecided"):
        train(build_tiny_model(tokenizer, hidden=16, layers=1), tokenizer, tmp_path, rollouts)
