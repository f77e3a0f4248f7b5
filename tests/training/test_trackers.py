"""Trackers: the metrics of each step, by the names that `metrics.jsonl` has."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from qwq_env.errors import UsageError
from qwq_env.training import trackers
from qwq_env.training.recipe import Recipe
from qwq_env.training.recipe.schema import RolloutRecipe
from qwq_env.training.stages.context import StageContext
from qwq_env.training.trackers import Trackers, check_trackers

ROWS = [
    {"reward": 0.25, "episode/lost": 0.0, "note": "text", "loss": 2.5},
    {"reward": None, "loss": 1.5},
    {"loss": 0.5},
]
"""Of a batch, of one that nobody was paid for, and of a step that learns from it again."""


class Kept:
    """A tracker that keeps what it is told, or fails."""

    def __init__(self, fails: str = "") -> None:
        self.rows, self.fails, self.closed = [], fails, False

    def begin(self, recipe, folder, step):
        if self.fails == "begin":
            raise OSError("no network")
        return self

    def log(self, row, step):
        if self.fails == "log":
            raise OSError("no network")
        self.rows.append((step, row))

    def close(self):
        self.closed = True


def driven(names, folder, *, first: bool = True) -> None:
    callback = Trackers(Recipe(report_to=names), folder)
    state = SimpleNamespace(is_world_process_zero=first, global_step=0)
    callback.on_train_begin(None, state, None)
    for row in ROWS:
        state.global_step += 1
        callback.on_log(None, state, None, logs=row)
    for logs in ({"train_runtime": 1.0, "train_loss": 1.0}, {"eval_loss": 1.0}, {}, None):
        callback.on_log(None, state, None, logs=logs)
    callback.on_train_end(None, state, None)


@pytest.fixture
def kept(monkeypatch):
    """Two trackers in the place of real ones, the first of which may fail."""
    pair = {"wandb": Kept(), "trackio": Kept()}
    made = {name: trackers._Kind(each.begin, "json") for name, each in pair.items()}
    monkeypatch.setattr(trackers, "TRACKERS", made)
    return pair


def test_each_step_goes_to_every_tracker_by_the_names_of_the_metrics(kept, tmp_path):
    driven(["wandb", "trackio"], tmp_path)

    first = {"reward": 0.25, "episode/lost": 0.0, "loss": 2.5}
    rows = [(1, first), (2, {"loss": 1.5}), (3, {"loss": 0.5})]
    assert kept["wandb"].rows == kept["trackio"].rows == rows
    assert kept["wandb"].closed and kept["trackio"].closed


@pytest.mark.parametrize("fails", ["begin", "log"])
def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(kept, tmp_path, caplog, fails):
    kept["wandb"].fails = fails
    with caplog.at_level(logging.WARNING):
        driven(["wandb", "trackio"], tmp_path)

    assert len(kept["trackio"].rows) == 3
    [told] = caplog.messages
    assert told == "report_to: wandb is left out from here on: OSError: no network"


def test_only_the_first_process_tells(kept, tmp_path):
    driven(["wandb"], tmp_path, first=False)

    assert kept["wandb"].rows == []


def test_what_is_not_known_or_not_installed_is_told_before_the_training(monkeypatch):
    with pytest.raises(UsageError, match=r"report_to: 'wandbb' is not known \(did you mean 'wandb"):
        Recipe(report_to=["wandbb"])
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"report_to: wandb is not installed; pip install wandb"):
        check_trackers(["wandb"])
    check_trackers([])


def test_event_files_of_tensorboard_hold_the_metrics(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    driven(["tensorboard"], tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()

    assert events.Tags()["scalars"] == ["reward", "episode/lost", "loss"]
    assert [(e.step, e.value) for e in events.Scalars("reward")] == [(1, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.5), (2, 1.5), (3, 0.5)]


@pytest.mark.parametrize(
    ("store", "kept"), [("all", [0, 1, 2, 3]), ("sample", [0, 1]), ("none", [])]
)
def test_of_a_sample_the_first_group_of_each_step_is_stored(store, kept):
    recipe = SimpleNamespace(recipe=Recipe(rollout=RolloutRecipe(store=store)))
    episodes = [f"7-0.1.{place}" for place in range(4)]

    assert [i for i, e in enumerate(episodes) if StageContext.stores(recipe, e, 2)] == kept
