"""How far sampler and trainer are apart, from what the trainer computes anyway."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from qwq_env.dialect.codec import TokenCodec
from qwq_env.evaluation.numerics import Divergence
from qwq_env.training.mismatch import merged, mismatch_metrics, mismatch_of
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from .stock_trainer import ToolRecorder, train
from .test_rollouts import environment
from .test_trainer import OnServer

CLIP = (0.8, 1.2)


def batch() -> dict[str, torch.Tensor]:
    """Two rows behind prompts of 1022 tokens and of 3; the sampler gave one token no number."""
    prompts = torch.ones(2, 1022, dtype=torch.long)
    prompts[1, :-3] = 0
    sampled = torch.tensor([[-1.0, -9.0, -2.0], [-1.0, math.nan, -9.0]])
    return {"prompt_mask": prompts, "sampling_per_token_logps": sampled}


MASK = torch.tensor([[True, False, True], [True, True, False]])
TRAINER = torch.tensor([[-1.0 + math.log(1.5), 0.0, -2.0 - math.log(2)], [-1.0, 0.0, 0.0]])


def test_the_figures_of_a_batch_are_those_of_the_definitions():
    """Ratios of 1.5, 1/2 and 1, at the depths 1022, 1024 and 3."""
    told = mismatch_metrics(mismatch_of(batch(), MASK, TRAINER, CLIP))

    assert told == pytest.approx({
        "kl_k1": (-math.log(1.5) + math.log(2)) / 3,
        "kl_k3": (0.5 - math.log(1.5) - 0.5 + math.log(2)) / 3,
        "outside_clip": 2 / 3,
        "kl_k3/0-1024": (0.5 - math.log(1.5)) / 2,
        "outside_clip/0-1024": 1 / 2,
        "kl_k3/1024-2048": -0.5 + math.log(2),
        "outside_clip/1024-2048": 1.0,
    }, abs=1e-6)  # fmt: skip


def test_rows_that_were_not_read_are_left_out():
    rows = torch.tensor([1])

    assert mismatch_of(batch(), MASK, TRAINER[1:], CLIP, rows) == {
        (0, 1024): Divergence(1, 0.0, 0.0, 0)
    }
    assert mismatch_of(batch(), MASK & False, TRAINER, CLIP) == {}
    assert mismatch_metrics({}) == {}


def test_ranks_weigh_as_their_tokens():
    one = {(0, 1024): Divergence(1, 0.5, 0.25, 1)}
    other = {(0, 1024): Divergence(3, 0.5, 0.75, 0), (1024, 2048): Divergence(4, 1.0, 3.0, 3)}

    assert mismatch_metrics(merged([one, {}, other])) == {
        "kl_k1": 2.0 / 8, "kl_k3": 4.0 / 8, "outside_clip": 4 / 8,
        "kl_k3/0-1024": 1.0 / 4, "outside_clip/0-1024": 1 / 4,
        "kl_k3/1024-2048": 3.0 / 4, "outside_clip/1024-2048": 3 / 4,
    }  # fmt: skip


def learned(tokenizer, path, correction):
    """Return the trainer of one step on a batch of what a server sampled, two rows at a time."""
    texts = itertools.cycle(["0", "1" * 40, "1", "0" * 9])
    policy = OnServer(TokenCodec(tokenizer), lambda context: f"</think>{next(texts)}<|im_end|>")
    rollouts = Rollouts(
        environment(), tokenizer, context=4000, policy=lambda trainer: policy,
        correction=correction,
    )  # fmt: skip
    return train(
        build_tiny_model(tokenizer, hidden=16, layers=1, heads=2), tokenizer, path, rollouts,
        kind=ToolRecorder, per_device_train_batch_size=2, gradient_accumulation_steps=4,
    )  # fmt: skip


def sampling_of(trainer) -> dict[str, float]:
    names = ("kl_k1", "kl_k3", "outside_clip")
    return {
        name: value
        for name, value in trainer.state.log_history[0].items()
        if name.removeprefix("sampling/").startswith(names)
    }


def test_the_log_has_them_of_all_tokens_that_the_policy_sampled(tokenizer, tmp_path):
    """Both where TRL asks the trainer before the loss, and where only the loss does."""
    before = learned(tokenizer, tmp_path, "token_truncate")
    batch, told = before.batch, sampling_of(before)
    mask = (batch["completion_mask"] * batch["tool_mask"]).bool()
    logs = (batch["old_per_token_logps"] - batch["sampling_per_token_logps"])[mask].double()
    outside = ((logs.exp() < 0.8) | (logs.exp() > 1.2)).double()

    assert told["sampling/kl_k1"] == pytest.approx(-logs.mean().item(), rel=1e-5)
    k3 = (logs.exp() - 1 - logs).mean().item()
    assert told["sampling/kl_k3"] == pytest.approx(k3, rel=1e-5)
    assert told["sampling/outside_clip"] == pytest.approx(outside.mean().item())
    within = learned(tokenizer, tmp_path, None)
    assert "old_per_token_logps" not in within.batch
    assert sampling_of(within) == pytest.approx(told, rel=1e-4)
