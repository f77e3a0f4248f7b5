"""A curriculum in training: what the episodes of a step were paid moves the tasks of the next.

The state is the environment's (`MixtureEnv.progress`). All ranks are told the results of all, in
the same order, after each batch, so all of them go on with the same tasks; the state lies in each
checkpoint, and a run that is resumed takes it up from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from accelerate.utils import gather_object

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError
from qwq_env.files.atomic import write_whole
from qwq_env.trajectory import Trajectory

_FILE: Final = "curriculum.json"


@runtime_checkable
class FollowsProgress(Protocol):
    """An environment whose tasks, by index, follow what its episodes are paid."""

    def record(self, task_id: str, reward: float | None) -> None:
        """Take note of how an episode ended; None for one that was lost."""
        ...

    def progress(self) -> dict[str, Any]:
        """Return the state as JSON; empty where nothing ever moves."""
        ...

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Go on from a state."""
        ...


def curriculum_of(env: ToolEnv) -> FollowsProgress | None:
    """Return the environment if it has a curriculum, None if its tasks never move."""
    return env if isinstance(env, FollowsProgress) and env.progress() else None


def tell(curriculum: FollowsProgress, trajectories: Sequence[Trajectory], ranks: int = 1) -> None:
    """Record the episodes of a batch: those of all ranks, on each of them in the same order."""
    results = [(trajectory.task_id, trajectory.reward) for trajectory in trajectories]
    for task_id, reward in gather_object(results) if ranks > 1 else results:
        curriculum.record(task_id, reward)


def write_progress(env: ToolEnv, checkpoint: Path) -> None:
    """Write the state of a curriculum, if there is one, into the folder of a checkpoint."""
    if (curriculum := curriculum_of(env)) is not None:
        write_whole(checkpoint / _FILE, json.dumps(curriculum.progress()))


def read_progress(env: ToolEnv, checkpoint: Path) -> None:
    """Go on with the state in a checkpoint. Raises `UsageError` for one that has none."""
    if (curriculum := curriculum_of(env)) is None:
        return
    try:
        progress = json.loads((checkpoint / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"run: {checkpoint / _FILE}: {error}; expected the curriculum") from None
    curriculum.restore(progress)
