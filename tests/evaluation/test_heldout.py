"""What an evaluation plays, and what it counts."""

from __future__ import annotations

import pytest

from qwq_env.env import ToolEnv
from qwq_env.evaluation.heldout import evaluate, summarize
from qwq_env.grading.score import Score
from qwq_env.rollout.play import PlaySettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.trajectory import Trajectory

PAID = {"right": Score.right(), "half": Score(0.5, "half"), "wrong": Score.wrong(),
        "lost": Score.undecided("timeout")}  # fmt: skip


def environment(*answers: str) -> ToolEnv:
    """One task for each answer that the policy is to give."""
    tasks = ListTaskSet([Task(f"t{i}", f"Say {answer}.", "") for i, answer in enumerate(answers)])
    return ToolEnv(tasks, [], Rubric([Component("paid", lambda final: PAID[final.answer])]))


def obey(context: str) -> str:
    return f"</think>{context.split('Say ')[1].split('.')[0]}<|im_end|>"


def played(codec, *answers: str, **arguments):
    policy = ScriptedPolicy(codec, obey)
    size = len(answers)
    return evaluate(
        environment(*answers), policy, codec, size=size, play=PlaySettings(), **arguments
    )


@pytest.mark.parametrize(
    ("answers", "accuracy", "lost"),
    [
        (["right", "wrong", "right", "right"], 0.75, 0),
        (["right", "half"], 0.5, 0),
        (["right", "wrong", "lost", "lost"], 0.5, 2),
    ],
)
def test_accuracy_is_the_share_of_whole_rewards_among_the_graded(codec, answers, accuracy, lost):
    result = summarize(played(codec, *answers))

    assert (result.episodes, result.accuracy, result.lost) == (len(answers), accuracy, lost)


def test_every_sample_of_every_task_is_played_once_over_the_ranks_by_its_own_seed(codec):
    parts = [
        played(codec, "right", "wrong", "half", samples=2, seed=seed, rank=rank, world=2)
        for seed in (0, 1)
        for rank in (0, 1)
    ]
    first = [episode for part in parts[:2] for episode in part]
    all_seeds = {episode.seed for part in parts for episode in part}

    assert sorted(episode.task_id for episode in first) == ["t0", "t0", "t1", "t1", "t2", "t2"]
    assert len({episode.episode for episode in first}) == 6
    assert len(all_seeds) == 12


@pytest.mark.parametrize("opinion", [0.8, -0.5, 0.0])
def test_what_a_reward_model_adds_leaves_right_and_wrong_alone(codec, opinion):
    """Rules times (1 + weight × opinion), as in general training: 1.4, 0.75 and 1 are all right."""
    env = environment("right", "wrong", "right", "half")
    rubric = Rubric(
        [Component("model", lambda final: opinion, 0.5)],
        [Component("rules", lambda final: PAID[final.answer])],
        base=1.0,
    )
    env = ToolEnv(env.tasks, [], rubric)
    episodes = evaluate(env, ScriptedPolicy(codec, obey), codec, size=4, play=PlaySettings())

    assert [episode.is_right for episode in episodes] == [True, False, True, False]
    assert summarize(episodes).accuracy == 0.5
    assert [Trajectory.from_json(episode.to_json()) for episode in episodes] == episodes
