"""Dynamic sampling: groups that teach nothing are replaced, within a budget."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.outcome import Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.dynamic import check_whole_groups, fill, varied
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import train
from .test_rollouts import ended

MATCH = Rubric([Component("match", lambda final: float(final.answer == "1"))])
FLAT, VARIED, OTHER, LOST = (1.0, 1.0), (0.0, 1.0), (0.5, 0.0), (None, 1.0)


def episodes(*groups):
    return [
        replace(ended(Outcome.lost("x") if reward is None else Outcome.answered()), reward=reward)
        for group in groups
        for reward in group
    ]


@pytest.mark.parametrize(
    ("factor", "batch", "others", "kept", "asked"),
    [
        (3, [VARIED, VARIED], [], [VARIED, VARIED], []),
        # Half have varied, so twice as many are asked for as are wanted.
        (3, [FLAT, VARIED], [[FLAT, VARIED]], [VARIED, VARIED], [2]),
        (3, [FLAT, VARIED], [[VARIED, OTHER]], [VARIED, VARIED], [2]),
        (
            3,
            [FLAT, FLAT, OTHER, OTHER],
            [[VARIED, FLAT, FLAT, FLAT], [VARIED, FLAT, FLAT]],
            [VARIED, VARIED, OTHER, OTHER],
            [4, 3],
        ),
        (3, [FLAT, FLAT, VARIED], [[FLAT] * 6], [FLAT, FLAT, VARIED], [6]),
        # None has, so whatever may be played is.
        (3, [FLAT, FLAT], [[FLAT, VARIED, VARIED, FLAT]], [VARIED, VARIED], [4]),
        (3, [FLAT, FLAT], [[FLAT, FLAT, FLAT, VARIED]], [VARIED, FLAT], [4]),
        (1.5, [FLAT, FLAT], [[VARIED]], [VARIED, FLAT], [1]),
        (2, [LOST, VARIED], [[VARIED, FLAT]], [VARIED, VARIED], [2]),
        (1, [FLAT], [], [FLAT], []),
    ],
)
def test_flat_groups_are_replaced_until_the_budget_is_spent(factor, batch, others, kept, asked):
    counts: list[int] = []
    waiting = iter(others)

    def play(count):
        counts.append(count)
        return episodes(*next(waiting))

    filled = fill(episodes(*batch), 2, factor, play)

    assert [e.reward for e in filled.kept] == [r for group in kept for r in group]
    assert counts == asked
    assert len(filled.played) == 2 * (len(batch) + sum(asked))


def test_a_part_of_a_group_is_refused():
    check_whole_groups(16, 8)
    with pytest.raises(UsageError, match="dynamic: a process has 12 episodes"):
        check_whole_groups(12, 8)


@pytest.mark.parametrize("factor", [0.5, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(tokenizer, factor):
    env = ToolEnv(ListTaskSet([Task("t", "Task", "1")]), [], MATCH)
    with pytest.raises(UsageError, match=r"dynamic: .*expected 1 or more"):
        Rollouts(env, tokenizer, dynamic=factor)


def test_a_trainer_learns_from_the_tasks_that_differ(tokenizer, tmp_path):
    """Odd tasks are always answered rightly, even ones every other time."""
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i % 2}", "1") for i in range(64)])
    env = ToolEnv(tasks, [], MATCH)
    turns = itertools.count()

    def say(context):
        odd = "Task 1" in context
        return f"</think>{1 if odd else next(turns) % 2}<|im_end|>"

    played: list[float] = []
    rollouts = Rollouts(
        env, tokenizer, context=4000, policy=lambda trainer: ScriptedPolicy(rollouts.codec, say),
        dynamic=4, on_episode=lambda t, step: played.append(t.reward),
    )  # fmt: skip
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    train(model, tokenizer, tmp_path, rollouts, max_steps=2)

    assert all(varied(rollouts.last[start : start + 4]) for start in (0, 4))
    assert len(played) > 2 * len(rollouts.last)


def test_a_replacement_without_room_ends_nothing(tokenizer, tmp_path):
    """The batch is a group that is always answered rightly; all other prompts are over-long."""
    tasks = ListTaskSet([Task(f"t{i}", "Say 1. " * (40 if i else 1), "1") for i in range(64)])
    played: list[str] = []
    rollouts = Rollouts(
        ToolEnv(tasks, [], MATCH), tokenizer, context=200, size=1, dynamic=2,
        policy=lambda trainer: ScriptedPolicy(rollouts.codec, lambda _: "</think>1<|im_end|>"),
        on_episode=lambda t, step: played.append(t.task_id),
    )  # fmt: skip
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    train(model, tokenizer, tmp_path, rollouts, per_device_train_batch_size=4)

    assert [trajectory.task_id for trajectory in rollouts.last] == ["t0"] * 4
    assert len(played) == 8 and set(played[4:]).isdisjoint({"t0"})
