"""Experiment trackers: each step's metrics to TensorBoard, Weights & Biases, trackio.

They get the row that `metrics.jsonl` gets, by the same names; the callbacks of Transformers would
put `train/` before each, and `eval/` in the place of `eval_`. A tracker that fails says so once and
is left alone: it is no reason to end a training.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from transformers import TrainerCallback

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, describe_error
from qwq_env.files.atomic import write_whole
from qwq_env.text.characters import printable
from qwq_env.training.recipe import Recipe, dump_recipe

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where metrics go."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Take the metrics of a step."""

    def close(self) -> None:
        """Write what is not yet written."""


class TensorBoard:
    """Event files in the run's `tensorboard/`; `tensorboard --logdir runs` shows them."""

    def __init__(self, recipe: Recipe, folder: Path, begin: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional package

        # Of a run that goes on, what was logged behind its checkpoint is not shown any more.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=begin + 1)
        self._writer.add_text("recipe", f"```yaml\n{dump_recipe(recipe)}```", begin)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Add a scalar for each metric."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, by the recipe's name in the project `qwq-env`.

    Its own variables hold: WANDB_PROJECT, WANDB_MODE=offline, WANDB_API_KEY and the like. A run
    that goes on goes on there, too.
    """

    def __init__(self, recipe: Recipe, folder: Path, begin: int) -> None:
        wandb = importlib.import_module("wandb")  # an optional package
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT), name=recipe.name,
            id=_identity(folder), resume="allow", dir=str(folder), config=asdict(recipe),
        )  # fmt: skip

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log the row."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class Trackio:
    """A run of trackio, by the recipe's name in the project `qwq-env`; `trackio show` shows it.

    Its own variables hold: TRACKIO_PROJECT, TRACKIO_DIR and the like.
    """

    def __init__(self, recipe: Recipe, folder: Path, begin: int) -> None:
        trackio = importlib.import_module("trackio")  # an optional package
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", _PROJECT),
            name=f"{recipe.name}-{_identity(folder)}", resume="allow", config=asdict(recipe),
        )  # fmt: skip

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log the row."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class _Kind(NamedTuple):
    """A tracker's class and the package that it needs."""

    make: Callable[[Recipe, Path, int], Tracker]
    package: str


TRACKERS: Final[Mapping[str, _Kind]] = {
    "trackio": _Kind(Trackio, "trackio"),
    "wandb": _Kind(WandB, "wandb"),
    "tensorboard": _Kind(TensorBoard, "tensorboard"),
}
_PROJECT: Final = "qwq-env"


def check_trackers(names: Sequence[str]) -> None:
    """Raise `UsageError` for a tracker whose package is not there."""
    for name in names:
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"report_to: {package} is not installed; pip install {package}")


class Trackers(TrainerCallback):  # type: ignore[misc]  # its package is read without types
    """Passes each step's metrics on to the trackers; the first process alone does."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._recipe, self._folder = recipe, folder
        self._trackers: dict[str, Tracker] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Begin a run in each tracker, or go on with it."""
        if not state.is_world_process_zero:
            return
        for name in dict.fromkeys(self._recipe.report_to):
            with self._alone(name):
                made = TRACKERS[name].make(self._recipe, self._folder, state.global_step)
                self._trackers[name] = made

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """Pass on the row that goes to `metrics.jsonl`."""
        if not is_step(logs):
            return
        row = {name: float(value) for name, value in logs.items() if is_number(value)}
        for name, tracker in list(self._trackers.items()):
            with self._alone(name):
                tracker.log(row, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close them."""
        for name, tracker in list(self._trackers.items()):
            with self._alone(name):
                tracker.close()
        self._trackers.clear()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Give up a tracker that fails: the training has its own metrics.jsonl."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the boundary to foreign services
            self._trackers.pop(name, None)
            reason = printable(describe_error(error), lines=False)
            logger.warning("report_to: %s is left out from here on: %s", name, reason)


def is_step(logs: Mapping[str, Any] | None) -> bool:
    """Say whether what the trainer logs is the row of a training step, which has its `loss`.

    Not all have a `reward`: a batch may be learned from in several steps, and is told of in the
    first. An evaluation has `eval_loss`, the summary at the end `train_loss`.
    """
    return logs is not None and "loss" in logs


def _identity(folder: Path) -> str:
    """Return the id that a run has in trackers, the same when it goes on."""
    path = folder / "tracker.id"
    if not path.exists():
        write_whole(path, uuid.uuid4().hex[:12])
    return path.read_text(encoding="utf-8").strip()
