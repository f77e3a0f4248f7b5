"""What every environment of the library keeps beside the kit: its card, an example, its splits.

The kit is held against them in tests/testing/test_library.py.
"""

from __future__ import annotations

import gymnasium as gym
import pytest

import qwq_env  # noqa: F401 - registers the environments
from qwq_env.cards import PARTS, card_of, library_ids
from qwq_env.env import ToolEnv
from qwq_env.envs.guessing_games import Number
from qwq_env.envs.retail.customer import Customer
from qwq_env.evaluation.example import example_episode
from qwq_env.registry import make_environment

IDS = library_ids()


@pytest.fixture(params=IDS, scope="module")
def env(request) -> ToolEnv:
    return make_environment(request.param)


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


def test_what_is_held_out_is_not_trained_on(env):
    splits = [make_environment(env.spec.id, split=name).tasks for name in ("train", "heldout")]
    train, heldout = (
        {(task.prompt, str(task.answer)) for task in map(tasks.task, range(40))} for tasks in splits
    )

    assert not train & heldout


@pytest.mark.parametrize(
    ("env_id", "arguments", "heard"),
    [
        ("qwq/Retail-v0", {}, (Customer, "hear")),
        ("qwq/WordGame-v0", {"game": "number"}, (Number, "answer")),
    ],
)
def test_who_answers_takes_note_of_each_turn_once(monkeypatch, env_id, arguments, heard):
    """And once more for the reward, whatever the length of the conversation."""
    kind, name = heard
    hear, times = getattr(kind, name), []
    monkeypatch.setattr(kind, name, lambda *given: times.append(1) or hear(*given))
    env = make_environment(env_id, arguments)
    env.reset(seed=0, options={"index": 0})
    turns, ended = 0, False
    while not ended:
        _, _, terminated, truncated, _ = env.step("</think>Hm.<|im_end|>")
        turns, ended = turns + 1, terminated or truncated

    assert turns >= 4 and turns <= len(times) <= 2 * turns
