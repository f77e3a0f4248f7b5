"""Dynamic sampling: groups that teach nothing are replaced, within a budget."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.outcome import Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training import rollouts as rollouts_module
from qwq_env.training.audited import play_audited
from qwq_env.training.dynamic import check_whole_groups, enough, fill, varied
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import stock_trainer, train
from .test_rollouts import ended

MATCH = Rubric([Component("match", lambda final: float(final.answer == "1"))])
FLAT, VARIED, OTHER, LOST = (1.0, 1.0), (0.0, 1.0), (0.5, 0.0), (None, 1.0)
GONE = (None, None)


def episodes(*groups):
    return [
        replace(ended(Outcome.lost("x") if reward is None else Outcome.answered()), reward=reward)
        for group in groups
        for reward in group
    ]


@pytest.mark.parametrize(
    ("factor", "share", "batch", "others", "kept", "asked"),
    [
        (3, 1, [VARIED, VARIED], [], [VARIED, VARIED], [2]),
        # Half have varied: four are played for one that does.
        (3, 1, [FLAT, VARIED], [FLAT, FLAT, VARIED, FLAT], [VARIED, VARIED], [2, 4]),
        (3, 1, [FLAT, VARIED], [VARIED, OTHER, FLAT, FLAT], [VARIED, VARIED], [2, 4]),
        # Of eleven three have: what is left of the budget is less than should do.
        (
            3,
            1,
            [FLAT, FLAT, OTHER, OTHER],
            [VARIED] + [FLAT] * 6 + [VARIED],
            [VARIED, VARIED, OTHER, OTHER],
            [4, 7, 1],
        ),
        (3, 1, [FLAT, FLAT, VARIED], [FLAT] * 6, [FLAT, FLAT, VARIED], [3, 6]),
        # None has, so whatever may be played is.
        (3, 1, [FLAT, FLAT], [FLAT, VARIED, VARIED, FLAT], [VARIED, VARIED], [2, 4]),
        (3, 1, [FLAT, FLAT], [FLAT, FLAT, FLAT, VARIED], [VARIED, FLAT], [2, 4]),
        (1.5, 1, [FLAT, FLAT], [VARIED], [VARIED, FLAT], [2, 1]),
        (2, 1, [LOST, VARIED], [VARIED, FLAT], [VARIED, VARIED], [2, 2]),
        (1, 1, [FLAT], [], [FLAT], [1]),
        # As half varied in the step before, seven are played for two, at once: no more than two
        # batches of others are.
        (5, 0.5, [FLAT, OTHER], [FLAT, VARIED, FLAT, FLAT], [VARIED, OTHER], [6]),
        (5, 0.5, [FLAT] * 4, [FLAT] * 8 + [OTHER] * 8, [OTHER] * 4, [12, 8]),
        (2, 0.5, [FLAT, OTHER], [FLAT, VARIED], [VARIED, OTHER], [4]),
        (9, 0.9, [FLAT, FLAT], [VARIED, VARIED] + [FLAT] * 3, [VARIED, VARIED], [3, 4]),
        # Where all were lost there is no time, or nobody to ask.
        (9, 1, [FLAT, VARIED], [GONE] * 4, [FLAT, VARIED], [2, 4]),
        (9, 1, [GONE, GONE], [], [GONE, GONE], [2]),
        # 0.2 of five is a group, whatever it is in binary.
        (1.2, 1, [FLAT, VARIED, VARIED, VARIED, VARIED], [VARIED], [VARIED] * 5, [5, 1]),
        # None did.
        (4, 0, [FLAT, VARIED], [VARIED] * 4, [VARIED, VARIED], [6]),
    ],
)
def test_flat_groups_are_replaced_until_the_budget_is_spent(
    factor, share, batch, others, kept, asked
):
    counts: list[int] = []
    rewards = iter([*batch, *others])
    waiting = iter(range(2 * len(batch), 1000))

    def play(assigned):
        counts.append(len(assigned) // 2)
        return episodes(*itertools.islice(rewards, len(assigned) // 2))

    filled = fill(range(2 * len(batch)), waiting, 2, factor, share, play)

    assert [e.reward for e in filled.kept] == [r for group in kept for r in group]
    assert counts == asked
    assert len(filled.played) == 2 * sum(asked) == next(waiting)
    assert filled.groups.varied == sum(
        group in (VARIED, OTHER) for group in [*batch, *others][: sum(asked)]
    )


@pytest.mark.parametrize(("wanted", "share"), [(1, 1), (8, 1), (1, 0.5), (8, 0.5), (8, 0.05)])
def test_enough_groups_are_played_more_often_than_not(wanted, share):
    drawn, played = random.Random(0), enough(wanted, share)
    times = [sum(drawn.random() < share for _ in range(played)) >= wanted for _ in range(1000)]
    assert 0.75 < sum(times) / 1000 < 0.95 or (share == 1 and played == wanted and all(times))


def one_in_four_differs(tokenizer, asked):
    """Rollouts of which one task in four is answered by chance, the others always rightly."""
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i % 4}", "1") for i in range(64)])
    rollouts = Rollouts(
        ToolEnv(tasks, [], MATCH), tokenizer, context=4000, dynamic=8,
        policy=lambda trainer: ScriptedPolicy(rollouts.codec, say),
        on_episode=lambda trajectory, step: asked.append((step, trajectory.episode)),
    )  # fmt: skip
    turns = itertools.count()

    def say(context):
        return f"</think>{next(turns) % 2 if 'Task 0' in context else 1}<|im_end|>"

    return rollouts


def test_the_next_step_asks_at_once_for_as_many_as_did(tokenizer, tmp_path):
    asked: list[tuple[int, str]] = []
    rollouts = one_in_four_differs(tokenizer, asked)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    trainer = train(model, tokenizer, tmp_path, rollouts, max_steps=3)

    rows = [row for row in trainer.state.log_history if "dynamic/varied" in row]
    assert [row["dynamic/groups"] for row in rows] == [
        sum(step == row["step"] for step, _ in asked) / 4 for row in rows
    ]
    for before, row in itertools.pairwise(rows):
        assert row["dynamic/groups"] >= enough(2, before["dynamic/varied"]) > 2


def test_all_that_is_played_for_a_batch_shares_its_wall_time(tokenizer, tmp_path, monkeypatch):
    """Other ranks wait for one batch's time, however often this one plays."""
    played: list[tuple[int, float]] = []

    def recorded(engine, asked, report, deadline):
        played.append((len(asked), deadline))
        return play_audited(engine, asked, report, deadline)

    monkeypatch.setattr(rollouts_module, "play_audited", recorded)
    rollouts = one_in_four_differs(tokenizer, [])
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    train(model, tokenizer, tmp_path, rollouts)

    assert len(played) > 1
    assert len({deadline for _, deadline in played}) == 1


def test_a_run_that_goes_on_asks_for_as_many_as_one_that_never_ended(tokenizer, tmp_path):
    def played(path, steps, **more):
        asked: list[tuple[int, str]] = []
        trainer = stock_trainer(
            build_tiny_model(tokenizer, hidden=16, layers=1, heads=2), tokenizer, path,
            one_in_four_differs(tokenizer, asked), max_steps=steps, lr_scheduler_type="constant",
            save_strategy="steps", save_steps=2,
        )  # fmt: skip
        trainer.train(**more)
        return [episode for step, episode in asked if step == 3]

    whole = played(tmp_path / "whole", 3)
    assert not played(tmp_path / "cut", 2)
    assert whole == played(tmp_path / "cut", 3, resume_from_checkpoint=True)
    assert len(whole) > 8


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
