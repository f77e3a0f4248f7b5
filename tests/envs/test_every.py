"""What every registered environment keeps: its card, its oracle, no pay for cheats, calm.

Gymnasium's own rules are held in tests/test_gymnasium.py.
"""

from __future__ import annotations

import math
import pickle

import gymnasium as gym
import pytest

import qwq_env  # noqa: F401 - registers the environments
from qwq_env import portal
from qwq_env.cards import PARTS, card_of, library_ids
from qwq_env.env import ToolEnv
from qwq_env.evaluation.cheats import audit_rewards, faults
from qwq_env.evaluation.example import example_episode
from qwq_env.registry import make_environment
from qwq_env.testing.random_policy import play_at_random

IDS = library_ids()


@pytest.fixture(params=IDS, scope="module")
def env(request) -> ToolEnv:
    return make_environment(request.param)


def pickled(env: ToolEnv) -> ToolEnv:
    return pickle.loads(pickle.dumps(env))


def test_every_id_of_the_library_is_looked_at():
    assert sorted(spec.id for spec in gym.registry.values() if spec.namespace == "qwq") == IDS
    assert len(IDS) >= 5


@pytest.mark.parametrize("env_id", IDS)
def test_the_card_is_whole_and_true(env_id):
    card = card_of(env_id)

    assert card.text.startswith(f"`{env_id}`: ")
    assert card.missing == []
    assert all(card.first(part) for part in PARTS)


def test_the_card_names_the_tools_that_there_are(env):
    said = card_of(env.spec.id).defaults.get("tools")

    if said is not None:
        assert list(said) == [tool.name for tool in env.settings.tools]


def test_an_example_episode_is_paid_in_full(env):
    episode = example_episode(env.spec.id)

    assert episode.reward == pytest.approx(1.0)
    assert {"user", "assistant"} <= {message["role"] for message in episode.messages}
    assert env.tasks.find(episode.task_id).id == episode.task_id


def test_only_the_oracle_is_paid(env):
    found = faults(audit_rewards(env, tasks=3), 0.05)

    # Of few episodes one may be a stroke of luck.
    assert found == [] or faults(audit_rewards(env, tasks=64), 0.05) == []


@pytest.mark.parametrize("other_of", [lambda env: make_environment(env.spec.id), pickled])
def test_a_task_is_found_again_and_the_same_in_another_environment(env, other_of):
    other = other_of(env)
    for index in (0, 1, 7, 300):
        task = env.tasks.task(index)

        assert env.tasks.find(task.id) == task == other.tasks.task(index)
        assert other.tasks.find(task.id) == task
    for unknown in ("", "x", "x/1", task.id + "x"):
        with pytest.raises(KeyError):
            env.tasks.find(unknown)


def test_what_is_held_out_is_not_trained_on(env):
    splits = [make_environment(env.spec.id, split=name).tasks for name in ("train", "heldout")]
    train, heldout = (
        {(task.prompt, str(task.answer)) for task in map(tasks.task, range(40))} for tasks in splits
    )

    assert not train & heldout


def test_a_random_policy_breaks_nothing_and_earns_nothing(env):
    played = portal.run(play_at_random(env, 20))

    assert sum(played.outcomes.values()) == 20
    assert not [outcome for outcome in played.outcomes if outcome.startswith("failed")]
    assert math.fsum(played.rewards) / 20 <= 0.05


def test_what_a_random_policy_gets_is_decided_by_the_seed(env):
    first, second = (portal.run(play_at_random(env, 5, seed=3)) for _ in range(2))

    assert first.outcomes == second.outcomes
    assert sorted(first.rewards) == sorted(second.rewards)
