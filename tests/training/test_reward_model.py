"""A reward model that is trained here tells right answers from wrong ones it has never seen."""

from __future__ import annotations

import asyncio
import copy
import random

import pytest

from qwq_env.envs.reward_models import make_reward_model
from qwq_env.errors import UsageError
from qwq_env.grading.reward.model import Candidate
from qwq_env.training.reward_model import Labelled, area_under_curve, train_reward_model
from qwq_env.training.tiny.chat_template import qwq_chat_template
from qwq_env.training.tiny.model import build_tiny_model

WORDS = ("kettle", "river", "garden")


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    chats = copy.deepcopy(tokenizer)
    chats.chat_template = qwq_chat_template()
    build_tiny_model(chats, hidden=16, layers=1, heads=2).save_pretrained(folder)
    chats.save_pretrained(folder)
    return folder


def labelled(count: int, seed: int) -> list[Labelled]:
    """Answers that are right if they end calmly."""
    draws = random.Random(seed)
    found = []
    for _ in range(count):
        right = draws.random() < 0.3
        answer = draws.choice(WORDS) + ("...." if right else "!!!!")
        found.append(Labelled(Candidate(draws.choice(WORDS), answer), right))
    return found


def test_it_learns_what_the_verifier_says_and_is_served_as_any_other(checkpoint, tmp_path):
    report = train_reward_model(
        checkpoint, labelled(96, 0), tmp_path / "rm", heldout=labelled(48, 1), steps=30, batch=32,
        learning_rate=1e-2,
    )  # fmt: skip
    model = make_reward_model(tmp_path / "rm")
    good, bad = asyncio.run(
        model.score([Candidate("river", "garden...."), Candidate("river", "garden!!!!")])
    )
    asyncio.run(model.aclose())

    assert (report.trained_on, report.tested_on) == (96, 48)
    assert report.accuracy > 0.9 > report.base_rate
    assert report.auc is not None
    assert report.auc > 0.95
    assert good.value > 0.5 > bad.value


def test_it_is_the_same_for_a_seed(checkpoint, tmp_path):
    first, second = (
        train_reward_model(
            checkpoint, labelled(16, 0), tmp_path / name, heldout=labelled(8, 1), steps=2, batch=8
        )
        for name in ("first", "second")
    )

    assert first == second


@pytest.mark.parametrize("kept", [True, False])
def test_answers_of_one_kind_teach_nothing(checkpoint, tmp_path, kept):
    alike = [each for each in labelled(32, 0) if each.right is kept]
    with pytest.raises(UsageError, match="expected both kinds to learn from"):
        train_reward_model(checkpoint, alike, tmp_path / "rm", heldout=labelled(8, 1))

    assert not (tmp_path / "rm").exists()


def test_the_area_is_the_share_of_pairs_in_order():
    assert area_under_curve([3, 2, 1, 0], [True, True, False, False]) == 1.0
    assert area_under_curve([1, 1], [True, False]) == 0.5
    assert area_under_curve([0, 1], [True, False]) == 0.0
    assert area_under_curve([0, 1], [True, True]) is None
