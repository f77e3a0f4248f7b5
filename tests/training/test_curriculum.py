"""A curriculum moves with what is paid in training, and goes on from a checkpoint."""

from __future__ import annotations

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.general import GeneralEnv
from qwq_env.envs.mixture import MixtureEnv
from qwq_env.errors import UsageError
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.training.curriculum import curriculum_of, read_progress, write_progress
from qwq_env.training.environments import environments
from qwq_env.training.recipe import EnvironmentRecipe, Recipe
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import train

MEMBERS = {"math": {"id": "qwq/MathTool-v0", "tools": ["calculator"], "difficulty": [1, 2, 3]}}
SOON = {"window": 8, "up": 1.0, "down": 0.5}


def mixture(level: int = 0) -> MixtureEnv:
    env = MixtureEnv(MEMBERS, curriculum=SOON)
    env.restore({"math": {"level": level, "recent": []}})
    return env


def test_the_tasks_of_a_step_follow_what_the_last_one_was_paid(tokenizer, tmp_path):
    env, seen = mixture(level=2), {1: set(), 2: set()}
    rollouts = Rollouts(
        env,
        tokenizer,
        size=6,
        context=4000,
        on_episode=lambda t, step: seen[step].add(t.task_id.split("/")[2]),
        policy=lambda trainer: ScriptedPolicy(TokenCodec(tokenizer), "</think>\\boxed{1}"),
    )
    model = build_tiny_model(tokenizer, hidden=32)
    train(model, tokenizer, tmp_path, rollouts, max_steps=2)

    assert seen == {1: {"3"}, 2: {"2"}}
    assert env.progress() == {"math": {"level": 0, "recent": []}}
    assert len({trajectory.task_id for trajectory in rollouts.last}) == 2  # one for each group


def test_a_checkpoint_holds_where_it_stands(tmp_path):
    before, after = mixture(level=1), mixture()
    before.record("math/arithmetic/2/train/0/5", 1.0)
    write_progress(before, tmp_path)
    read_progress(after, tmp_path)

    assert after.progress() == before.progress() == {"math": {"level": 1, "recent": [True]}}


@pytest.mark.parametrize("text", [None, "{", '{"code": {}}'])
def test_a_checkpoint_without_it_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "curriculum.json").write_text(text)
    with pytest.raises(UsageError, match=r"curriculum|progress"):
        read_progress(mixture(), tmp_path)


@pytest.mark.parametrize("env", [GeneralEnv(), MixtureEnv({"math": "qwq/MathTool-v0"})])
def test_where_nothing_moves_nothing_is_written(tmp_path, env):
    write_progress(env, tmp_path)
    read_progress(env, tmp_path)

    assert curriculum_of(env) is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_held_out_has_all_levels_and_stays():
    wanted = EnvironmentRecipe(id="qwq/Mixture-v0", arguments={"members": MEMBERS})
    train, heldout = environments(Recipe(environment=wanted))
    levels = [heldout.tasks.task(index).id.split("/")[2] for index in range(6)]

    assert curriculum_of(train) is train and curriculum_of(heldout) is None
    assert levels == ["1", "2", "3"] * 2
    assert len({heldout.tasks.task(index).id for index in range(60)}) == 60
