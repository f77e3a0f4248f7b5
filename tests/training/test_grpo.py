"""The trainer that a recipe makes: a row of metrics for each step, also of a batch's later ones."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator
from matplotlib.axes import Axes
from transformers import AutoModelForCausalLM

from qwq_env.training import grpo
from qwq_env.training.grpo import StepLog, make_trainer
from qwq_env.training.recipe import load_recipe
from qwq_env.training.report import draw_curve, read_metrics
from qwq_env.training.rollouts import Rollouts
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.tiny.model import build_tiny_model

from .test_rollouts import environment, scripted

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny.yaml"
OFTEN = ["grpo.micro_batch=2", "grpo.accumulation=1"]
"""Four optimizer steps a batch of eight."""
TWICE = ["grpo.trl.num_iterations=2"]


class Bar:
    """Keeps what the progress bar is told."""

    def __init__(self) -> None:
        self.done, self.notes = 0, []

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.notes.append(note)


def trained(tokenizer, path: Path, rollouts: Rollouts, *settings: str):
    """Train as a run does; return its rows and its bar."""
    recipe = load_recipe(RECIPE, ["grpo.episodes=8", "grpo.group=4", *settings])
    folder, bar = RunFolder(path), Bar()
    model = build_tiny_model(tokenizer, hidden=16, layers=1, heads=2)
    make_trainer(model, tokenizer, rollouts, recipe, folder, world=1, phase=bar).train()
    return read_metrics(folder.metrics), bar


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_precision_is_settled_before_any_model_is_sharded(tokenizer, tmp_path, monkeypatch, beta):
    """The reference model of `beta` is sharded while the trainer is made."""
    told = []
    prepare = Accelerator.prepare_model
    monkeypatch.setattr(grpo, "keep_float32", lambda accelerator: told.append("settled"))
    monkeypatch.setattr(
        Accelerator,
        "prepare_model",
        lambda *a, **named: told.append("model") or prepare(*a, **named),
    )
    recipe = load_recipe(RECIPE, ["grpo.episodes=8", "grpo.group=4", f"grpo.beta={beta}"])
    build_tiny_model(tokenizer, hidden=16, layers=1, heads=2).save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    rollouts = scripted(tokenizer, lambda context: "</think>1<|im_end|>")
    make_trainer(model, tokenizer, rollouts, recipe, RunFolder(tmp_path), world=1, phase=Bar())

    assert told == ["settled", *(["model"] if beta else [])]


@pytest.mark.parametrize(("settings", "played"), [(OFTEN, [1, 5]), (TWICE, [1, 3, 5, 7])])
def test_each_step_has_its_row_and_moves_the_bar(tokenizer, tmp_path, settings, played):
    answers = itertools.cycle("01")
    rollouts = scripted(tokenizer, lambda context: f"</think>{next(answers)}<|im_end|>")
    rows, bar = trained(tokenizer, tmp_path, rollouts, "grpo.steps=8", *settings)

    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["step"] for row in rows if "reward" in row] == played
    assert all(row.keys() >= {"loss", "grad_norm", "learning_rate", "entropy"} for row in rows)
    assert bar.done == 8
    assert [n for n, note in enumerate(bar.notes, start=1) if note] == played
    assert bar.notes[0] == "reward 0.50  tools 0.00"


def test_neither_an_evaluation_nor_the_summary_at_the_end_is_a_step(tmp_path):
    folder, bar = RunFolder(tmp_path), Bar()
    state = SimpleNamespace(is_world_process_zero=True, global_step=3)
    log = StepLog(folder, bar)
    ends = {"train_runtime": 1.0, "train_loss": 0.5, "total_flos": 0.0, "epoch": 1.0}
    for logs in (None, {}, {"eval_loss": 0.5, "eval_reward": 1.0, "epoch": 1.0}, ends):
        log.on_log(None, state, None, logs)

    assert (read_metrics(folder.metrics), bar.done) == ([], 0)


def test_the_curve_is_of_batches_and_ends_with_the_last_step(tmp_path, monkeypatch):
    drawn, plot = [], Axes.plot

    def keep(axes, steps, values, *form, **named):
        drawn.append((steps, values))
        return plot(axes, steps, values, *form, **named)

    monkeypatch.setattr(Axes, "plot", keep)
    rows = [{"step": step, "loss": 0.0} for step in range(1, 9)]
    for step in (1, 5):
        rows[step - 1] |= {"reward": step / 8, "episode/tool_call_rate": 0.5}
    summary = {"name": "tiny", "accuracy_cold": 0.1, "accuracy_trained": 0.5}
    draw_curve(rows, summary, tmp_path / "curve.png")

    assert drawn == [([1, 5], [0.125, 0.625]), ([1, 5], [0.5, 0.5]), ([0, 8], [0.1, 0.5])]


@pytest.mark.parametrize("settings", [["grpo.micro_batch=2"], OFTEN])
def test_a_run_that_samples_its_own_weights_says_that_they_are_its_own(
    tokenizer, tmp_path, settings
):
    """By lot, so that there is something to learn."""
    rollouts = Rollouts(environment(), tokenizer, context=2000)
    rows, _ = trained(
        tokenizer, tmp_path, rollouts, "grpo.steps=5", "grpo.max_completion_tokens=24",
        "grpo.reward=random", *settings,
    )  # fmt: skip
    batches = [row for row in rows if "reward" in row]

    assert len(batches) == (2 if settings is OFTEN else 5)
    for row in rows:
        assert ("sampling/kl_k3" in row) == ("reward" in row)
    for row in batches:
        assert row["sampling/kl_k1"] == pytest.approx(0.0, abs=1e-4)
        assert row["sampling/kl_k3"] == pytest.approx(0.0, abs=1e-7)
        assert row["sampling/outside_clip"] == 0
        for name in ("kl_k3", "outside_clip"):
            depths = {key for key in row if key.startswith(f"sampling/{name}/")}
            known = {f"sampling/{name}/0-1024", f"sampling/{name}/1024-2048"}
            assert depths and depths <= known
            assert all(row[depth] == pytest.approx(0.0, abs=1e-7) for depth in depths)
