"""What the trainer computes of each token is stored beside the episodes, and seen by who looks."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from qwq_env.cli import main
from qwq_env.dialect.codec import TokenCodec
from qwq_env.rollout.ratios import RatioStore
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.stored import StoredRun
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.tiny.model import build_tiny_model

from ..viewer.test_view import blocks, heads
from .stock_trainer import ToolRecorder, stock_trainer
from .test_rollouts import CALL, environment

TWO_ROWS = ["keep", "strip"]


class Read(ScriptedPolicy):
    """Says what a script has, with the log-probabilities that the trainer's model gives it."""

    def __init__(self, trainer, turns) -> None:
        codec = TokenCodec(trainer.processing_class)

        def turn(context: str) -> str:
            return next(turns) if "<tool_response>" in context else CALL

        super().__init__(codec, turn)
        self.model = trainer.model

    async def generate(self, request):
        given = await super().generate(request)
        ids = torch.tensor([[*request.ids, *given.ids]])
        with torch.no_grad():
            logits = self.model(ids).logits[0, len(request.ids) - 1 : -1]
        drawn = logits.log_softmax(-1).gather(1, torch.tensor(given.ids)[:, None])
        return given._replace(logprobs=drawn[:, 0].tolist())


def trained(tokenizer, folder, *, thinking="keep", tells=True, **changes):
    """Train on two groups of four episodes of two turns each, with two rewards in either."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    passes: list[torch.Size] = []
    model.register_forward_pre_hook(
        lambda module, args, named: passes.append([*args, named.get("input_ids")][0].shape),
        with_kwargs=True,
    )
    turns = (f"</think>{answer}<|im_end|>" for answer in itertools.cycle("0001"))
    with (
        EpisodeStore(folder / "episodes.jsonl", TokenCodec(tokenizer)) as store,
        RatioStore(folder / "episodes.jsonl") as ratios,
    ):
        rollouts = Rollouts(
            environment(), tokenizer, context=2000, thinking=thinking,
            policy=lambda trainer: Read(trainer, turns),
            on_episode=lambda t, step: store.append(t, phase="grpo", step=step),
        )  # fmt: skip
        trainer = stock_trainer(
            model, tokenizer, folder / "out", rollouts, kind=ToolRecorder,
            learning_rate=0.01, **changes,
        )  # fmt: skip
        trainer.on_learned = ratios.append if tells else None
        trainer.train()
    trainer.passes = passes
    return trainer


@pytest.mark.parametrize("thinking", TWO_ROWS)
def test_of_a_policy_that_has_not_changed_the_ratios_are_one(tokenizer, tmp_path, thinking):
    trained(tokenizer, tmp_path, thinking=thinking, per_device_train_batch_size=4,
            gradient_accumulation_steps=2)  # fmt: skip
    run = StoredRun.open(tmp_path)
    told = {(e.name, row): e.ratios(row) for e in run.episodes()
            for row in range(len(e.trajectory.rows)) if e.ratios(row) is not None}  # fmt: skip

    assert run.damaged == []
    assert len(told) == len({name for name, _ in told}) == 8  # of each episode the row drawn
    assert {row for _, row in told} == ({0, 1} if thinking == "strip" else {0})
    for ratios, entropies in told.values():
        assert ratios == pytest.approx([1.0] * len(ratios), abs=1e-4)
        assert all(0 < entropy <= math.log(len(tokenizer)) + 0.01 for entropy in entropies)
    [episode, *_] = run.episodes()
    [row] = [row for name, row in told if name == episode.name]
    tokens = episode.row_tokens(row)
    assert [t.ratio for t in tokens if t.sampled] == told[episode.name, row].ratios
    assert {(t.ratio, t.entropy) for t in tokens if not t.sampled} == {(None, None)}


def test_who_looks_sees_them(tokenizer, tmp_path, capsys):
    trained(tokenizer, tmp_path, thinking="strip")
    assert main(["view", str(tmp_path), "--out", str(tmp_path / "view.html")]) == 0
    columns = [row["columns"] for head in heads(blocks(tmp_path / "view.html")["chunk-0"])
               for row in head["rows"]]  # fmt: skip
    capsys.readouterr()
    assert main(["show", str(tmp_path), "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["show", str(tmp_path)]) == 0

    assert columns.count(["logprob", "ratio", "entropy"]) == columns.count(["logprob"]) == 8
    assert [[*row["trainer"][0]] for row in shown] == [["row", "ratios", "entropies"]] * 8
    assert "the trainer's ratios 1 to 1, on average 1; entropy" in capsys.readouterr().out


@pytest.mark.parametrize("thinking", TWO_ROWS)
def test_what_is_learned_does_not_hang_on_who_is_told(tokenizer, tmp_path, thinking):
    changes = {"max_steps": 2, "num_iterations": 2, "gradient_accumulation_steps": 2,
               "per_device_train_batch_size": 4}  # fmt: skip
    one, other = (
        trained(tokenizer, tmp_path / str(tells), thinking=thinking, tells=tells, **changes)
        for tells in (True, False)
    )
    lines = (tmp_path / "True" / "ratios.jsonl").read_text().splitlines()

    assert all(map(torch.equal, one.model.parameters(), other.model.parameters()))
    assert one.passes == other.passes
    assert one.state.log_history[0]["loss"] == other.state.log_history[0]["loss"]
    # Both passes over the batch are told of as one.
    assert len(lines) == len({json.loads(line)["episode"] for line in lines}) == 8
    assert not (tmp_path / "False" / "ratios.jsonl").exists()


def test_rows_that_teach_nothing_and_evaluations_are_not_told_of(tokenizer, tmp_path):
    trainer = trained(tokenizer, tmp_path)
    told: list[str] = []
    trainer.on_learned = lambda step, episode, *rest: told.append(episode)
    batch = trainer.batch | {"played": [(1, f"e{place}", 0) for place in range(8)]}
    batch["advantages"] = torch.tensor([0.5, 0, 0, -0.5, 0, 0, 0, 0])
    trainer.model.train()
    trainer.compute_loss(trainer.model, dict(batch))
    trainer.model.eval()
    trainer.compute_loss(trainer.model, dict(batch))

    assert told == ["e0", "e3"]
