"""A micro-batch goes through the model in parts of so many tokens; nothing else is other for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from qwq_env.errors import UsageError
from qwq_env.training.micro_batches import part_sizes
from qwq_env.training.tiny.model import build_tiny_model

from ..ranks import run_ranks
from . import split_on_two_ranks
from .stock_trainer import Recorder, ToolRecorder, stock_trainer
from .test_rollouts import scripted
from .test_trainer import LOSSES, ONE_TEACHES, TWO_GROUPS, all_rows, episode, gradient
from .watched_step import answering, flat, watched_model


@pytest.mark.parametrize(
    ("lengths", "most", "multiple", "sizes"),
    [
        ([9, 3, 3, 3, 1], 9, 1, [1, 3, 1]),
        ([9, 3, 3, 3, 0, 0], 9, 1, [1, 5]),  # nothing is read of the last two
        ([4, 4, 4, 4], 8, 1, [2, 2]),
        ([5, 5, 4, 4], 16, 8, [2, 2]),
        ([3, 2, 1], 1000, 1, [3]),
        ([20, 1], 8, 1, [1, 1]),  # a row is not cut
        ([0, 0], 8, 1, [2]),
        ([0, 0], 8, 8, [2]),
    ],
)
def test_a_part_holds_as_many_rows_as_its_longest_lets_it(lengths, most, multiple, sizes):
    assert part_sizes(lengths, most, multiple) == sizes


@pytest.fixture(scope="module")
def trainer(tokenizer, tmp_path_factory):
    made = stock_trainer(
        build_tiny_model(tokenizer, hidden=16, layers=1, heads=2), tokenizer,
        tmp_path_factory.mktemp("split"), scripted(tokenizer, lambda _: "1"), kind=ToolRecorder,
    )  # fmt: skip
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("idle", [(), (0, 3), range(6)])
def test_the_gradient_is_that_of_the_whole(trainer, monkeypatch, loss, beta, idle):
    monkeypatch.setattr(trainer, "loss_type", loss)
    monkeypatch.setattr(trainer, "beta", beta)
    monkeypatch.setattr(
        trainer, "importance_sampling_level", "sequence" if loss == "luspo" else "token"
    )
    batch = all_rows(
        [episode(number, 1, 1.0) for number in range(6)],
        [0.0 if row in idle else 0.5 - row for row in range(6)],
    )
    batch["ref_per_token_logps"] = torch.full(batch["completion_ids"].shape, -5.0)
    read: list[int] = []
    hook = trainer.model.register_forward_pre_hook(
        lambda module, args, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    monkeypatch.setattr(trainer, "_most_tokens", None)
    whole = gradient(trainer, batch)
    loss_of_whole = trainer.compute_loss(trainer.model, batch)
    passes = len(read)
    trainer.split_by_tokens(16)
    parts = gradient(trainer, batch)
    passes_of_parts = read[passes:]
    loss_of_parts = trainer.compute_loss(trainer.model, batch)
    hook.remove()

    assert (parts - whole).norm() <= 1e-5 * whole.norm()
    assert loss_of_parts.item() == pytest.approx(loss_of_whole.item(), rel=1e-5, abs=1e-7)
    assert (whole.abs().max() > 0) == (len(idle) < 6 or beta > 0)
    assert max(passes_of_parts) <= 16
    assert len(passes_of_parts) > 1 or (len(idle) == 6 and not beta)


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        (TWO_GROUPS, {"loss_type": "grpo"}),
        # So that the old policy is asked, as the reference is, for all rows of a batch.
        (TWO_GROUPS, {"loss_type": "dapo", "num_iterations": 2, "max_steps": 2}),
        (ONE_TEACHES, {"loss_type": "dapo", "num_iterations": 2, "max_steps": 2}),
    ],
)
def test_a_step_is_the_same_and_no_pass_is_larger(tokenizer, tmp_path, texts, settings):
    """And what is logged of it, and told of its rows."""

    def trained(most: int | None):
        model, before, read = watched_model(tokenizer)
        learned: dict[tuple[str, int], Any] = {}
        trainer = stock_trainer(
            model, tokenizer, tmp_path, answering(tokenizer, texts),
            kind=ToolRecorder if most else Recorder, per_device_train_batch_size=8,
            learning_rate=0.1, optim="sgd", **settings,
        )  # fmt: skip
        if most:
            trainer.split_by_tokens(most)
            trainer.on_learned = lambda *told: learned.update({told[1:3]: told[3:]})
        trainer.train()
        sizes = [rows * width for rows, width in read]
        return flat(model) - before, sizes, trainer.state.log_history[0], learned

    stock, whole, logged_whole, _ = trained(None)
    ours, parts, logged, learned = trained(400)

    assert torch.allclose(stock, ours, atol=1e-6)
    assert stock.abs().max() > 1e-3
    assert max(whole) > 8 * 300 and max(parts) <= 400
    assert sum(parts) < sum(whole)
    assert len(learned) == (8 if texts is TWO_GROUPS else 4)
    assert logged["loss"] == pytest.approx(logged_whole["loss"], abs=1e-5)
    if texts is TWO_GROUPS:
        assert logged["entropy"] == pytest.approx(logged_whole["entropy"], abs=1e-4)


@pytest.mark.slow
def test_ranks_wait_for_each_other_as_often(tmp_path):
    """One has rows longer than the other's; the gradients meet once, with the last part."""
    run_ranks(split_on_two_ranks.compare, tmp_path, folder=tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))

    assert first["weights"] == second["weights"]
    assert first["moved"] > 1e-3
    assert first["apart"] <= 1e-3 * first["moved"]
    assert len(first["parts"]) == len(second["parts"]) > 2
    assert [rows for rows, _ in first["parts"]] == [rows for rows, _ in second["parts"]]
    assert max(rows * width for told in (first, second) for rows, width in told["parts"]) <= 340
    assert first["whole"] == [[4, 329]] and second["whole"] == [[4, 129]]
    assert first["met"] == second["met"] == [1, 1]


def test_what_looks_at_a_whole_micro_batch_is_refused(tokenizer, tmp_path):
    rollouts = scripted(tokenizer, lambda _: "1")
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    made = stock_trainer(model, tokenizer, tmp_path, rollouts, kind=ToolRecorder, entropy_coef=0.1)
    with pytest.raises(UsageError, match="without entropy_coef"):
        made.split_by_tokens(400)
