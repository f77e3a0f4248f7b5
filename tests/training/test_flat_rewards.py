"""A training that cannot learn says so, with what may be why."""

from __future__ import annotations

import itertools

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.env import ToolEnv
from qwq_env.outcome import Outcome
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rubric import Component, Rubric
from qwq_env.task import ListTaskSet, Task
from qwq_env.training.flat_rewards import FlatRewards, describe_episodes
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import train
from .test_rollouts import ended


def warnings_of(caplog) -> list[str]:
    return [text for r in caplog.records if "nothing is learned" in (text := r.getMessage())]


def trained(tokenizer, path, answers, **changes) -> None:
    tasks = ListTaskSet([Task(f"t{i}", f"Task {i}", "1") for i in range(64)])
    env = ToolEnv(tasks, [], Rubric([Component("match", lambda f: float(f.answer == "1"))]))
    policy = ScriptedPolicy(
        TokenCodec(tokenizer), lambda context: f"</think>{next(answers)}<|im_end|>"
    )
    rollouts = Rollouts(env, tokenizer, context=4000, policy=lambda trainer: policy)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    train(model, tokenizer, path, rollouts, **changes)


def test_a_run_without_two_different_rewards_says_so_once_and_at_the_end(
    tokenizer, tmp_path, caplog
):
    # TRL forgets the shares when it logs, here after four steps and eight.
    settings = {"max_steps": 11, "logging_steps": 4}
    trained(tokenizer, tmp_path, itertools.repeat("0"), **settings)

    told = warnings_of(caplog)
    assert [text.partition(":")[0] for text in told] == [
        "no group had two different rewards in 10 batches",
        "no group had two different rewards in any of the 11 batches",
    ]
    assert told[0].endswith("all rewards 0.00; 0 tool calls; ended by: 8 answered")


def test_a_batch_that_is_learned_from_twice_counts_once(tokenizer, tmp_path, caplog):
    """Whether or not TRL has logged in between."""
    settings = {"max_steps": 22, "num_iterations": 2, "logging_steps": 5}
    trained(tokenizer, tmp_path, itertools.repeat("0"), **settings)

    assert [text.partition(":")[0] for text in warnings_of(caplog)] == [
        "no group had two different rewards in 10 batches",
        "no group had two different rewards in any of the 11 batches",
    ]


def test_a_run_that_has_something_to_learn_says_nothing(tokenizer, tmp_path, caplog):
    trained(tokenizer, tmp_path, itertools.cycle("01"), max_steps=2)

    assert warnings_of(caplog) == []


class Trainer:
    """What is looked at of TRL's trainer."""

    is_world_process_zero = True

    def __init__(self):
        self._metrics = {"train": {}}


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ([[1.0]] * 3, ["in 3 batches", "in any of the 3 batches"]),
        ([[1.0]] * 2, ["in any of the 2 batches"]),
        ([[1.0, 1.0]] * 2, ["in 4 batches", "in any of the 4 batches"]),
        ([[0.9], *[[1.0]] * 2], []),
        ([[1.0], [1.0], [1.0, 0.5], [1.0]], []),
        ([[0.5], *[[1.0]] * 4], ["in 3 batches", "in the last 4 batches"]),
        ([[1.0], [], [], [1.0], []], ["in any of the 2 batches"]),
        ([[float("nan")]] * 5, ["in 3 batches", "in any of the 5 batches"]),
        ([], []),
    ],
)
def test_what_is_told_and_when(shares, told, caplog):
    trainer = Trainer()
    callback = FlatRewards(trainer, lambda: [], patience=3)
    for share in shares:
        trainer._metrics["train"]["frac_reward_zero_std"] = list(share)
        callback.on_step_end(None, trainer, None)
    callback.on_train_end(None, trainer, None)

    begins = [text.partition(":")[0] for text in warnings_of(caplog)]
    assert begins == [f"no group had two different rewards {when}" for when in told]


def test_the_newest_episodes_are_described():
    cut = ended(Outcome.cut("turns"), tool_calls=3, counts={"ok": 1, "unknown_tool": 2})
    odd = ended(Outcome.lost("\x1b[2J"), tool_calls=0)

    assert describe_episodes([cut, odd]) == (
        r"all rewards 0.00; 3 tool calls (2 without a result); ended by: 1 turns, 1 \x1b[2J"
    )
    assert describe_episodes([]).startswith("no rewards; 0 tool calls")
