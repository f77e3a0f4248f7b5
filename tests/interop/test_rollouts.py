"""The trainer's own door: what `Rollouts` plays and hands to TRL."""

from __future__ import annotations

import asyncio

import pytest

from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.engine import EngineSettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from ..byte_tokenizer import byte_tokenizer
from ..training.stock_trainer import train
from .parity import SCRIPTS, ParityEnv, by_ids

GROUP = 2


def script(context: str) -> str:
    """Say what the script of the task has next."""
    number = int(context.rpartition("Add 2 to ")[2].split(".")[0])
    turn = context.split(f"Add 2 to {number}.")[1].count("<|im_start|>assistant") - 1
    return list(SCRIPTS.values())[number][turn].text


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One step of TRL on every script, in groups of two: its batch, and the episodes."""
    tokenizer = byte_tokenizer()
    rollouts = Rollouts(
        ParityEnv(), tokenizer, size=len(SCRIPTS), context=4000,
        policy=lambda trainer: ScriptedPolicy(TokenCodec(tokenizer), script),
        engine=EngineSettings(attempts=1),
    )  # fmt: skip
    trainer = train(
        build_tiny_model(tokenizer, hidden=16, layers=1, heads=2), tokenizer,
        tmp_path_factory.mktemp("rollouts"), rollouts, num_generations=GROUP,
        per_device_train_batch_size=GROUP * len(SCRIPTS), max_completion_length=2000,
        scale_rewards="none",
    )  # fmt: skip
    return trainer.batch, rollouts


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
def test_the_trainer_gets_what_the_engine_plays(number, trained):
    batch, rollouts = trained
    rows = [row for row, each in enumerate(rollouts.last) if each.task_id == f"t{number}"]
    assert len(rows) == GROUP
    for row in rows:
        ours = rollouts.last[row]
        played = asyncio.run(by_ids(rollouts.codec, number, ours.seed))

        assert (ours.reward, ours.outcome) == (played.reward, played.outcome)
        assert (ours.ids, ours.mask) == (played.ids, played.mask)
        size = len(played.mask)
        if played.reward is not None:  # the engine keeps nothing of what was lost
            assert batch["completion_ids"][row, :size].tolist() == played.completion_ids
            assert batch["tool_mask"][row, :size].tolist() == played.mask
            assert batch["completion_mask"][row].sum() == size
        assert batch["advantages"][row] == 0.0  # both of a group say the same
