"""A cold start from what an environment itself plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError
from qwq_env.registry import make_environment
from qwq_env.training.demonstrations import Demonstrations
from qwq_env.training.recipe import load_recipe

from ..examples import example

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def desk():
    """A bank whose customer asks twice."""
    return example("bank").BankEnv(requests=2)


def wishes(env, index):
    return [f'"amount": {amount}' for _, _, amount in env.tasks.task(index).metadata["wishes"]]


def test_what_is_shown_is_the_episode(desk, codec):
    [shown] = Demonstrations(desk, right=1.0).transcripts(1)
    ids, mask = shown.encode(codec)
    own = codec.decode([token for token, bit in zip(ids, mask, strict=True) if bit])

    assert [part.author for part in shown.parts] == [
        "task", "model", "tool", "model", "user", "model", "tool", "model"
    ]  # fmt: skip
    assert all(wish in own for wish in wishes(desk, 0))
    assert "Move" not in own and "Move" in shown.text
    assert shown.text.count("<tool_response>\ndone\n") == 2
    assert own.endswith("Done.<|im_end|>")


def test_so_many_are_right_as_was_said(desk):
    shown = Demonstrations(desk, right=0.3).transcripts(200)
    right = [
        all(wish in text.text for wish in wishes(desk, index)) for index, text in enumerate(shown)
    ]

    assert 0.2 < sum(right) / 200 < 0.4


def test_the_same_seed_shows_the_same(desk):
    first, again, other = (Demonstrations(desk, seed=s).transcripts(4) for s in (0, 0, 1))

    assert first == again != other
    assert Demonstrations(desk).transcripts(1, first=2) == first[2:3]


@pytest.mark.parametrize("environment", ["MathTool", "CodeTool", "WordGame", "FunctionCall"])
def test_the_librarys_environments_can_be_shown(environment, tokenizer):
    env = make_environment(f"qwq/{environment}-v0")
    shown = Demonstrations(env, right=1.0).transcripts(2)

    assert all(text.parts[-1].author == "model" for text in shown)
    assert all(1 in text.encode(TokenCodec(tokenizer)).mask for text in shown)


def test_what_cannot_be_shown_is_named():
    with pytest.raises(UsageError, match=r"right: 1\.5; expected a number from 0 to 1"):
        Demonstrations(make_environment("qwq/MathTool-v0"), right=1.5)
    with pytest.raises(UsageError, match="dialect: react; expected qwq's"):
        Demonstrations(make_environment("qwq/MathTool-v0", {"dialect": "react"}))


@pytest.mark.parametrize("name", [path.name for path in (ROOT / "recipes").glob("*.yaml")])
def test_every_recipe_is_one(name):
    assert load_recipe(ROOT / "recipes" / name).name == name.removesuffix(".yaml")


@pytest.mark.parametrize(("tools", "told"), [(["calculator"], 1), ([], 0)])
def test_a_cold_start_without_calls_says_so_once(tools, told, caplog):
    env = MathToolEnv(tools=tools)
    env.solve = lambda task: None
    Demonstrations(env).transcripts(3)

    assert [record.message.count("printed answers") for record in caplog.records] == [1] * told
