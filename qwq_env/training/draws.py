"""What is played for each row of a batch: its task, and the seed of its episode.

Both follow from the run's seed and the step: a run that goes on draws again what it had drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from qwq_env.env import ToolEnv
from qwq_env.errors import UsageError, brief
from qwq_env.rollout.engine import Assignment
from qwq_env.task import Task
from qwq_env.training.curriculum import curriculum_of

_ENDLESS = 1 << 40
"""Other tasks of a set without end are drawn below this index: hardly ever one of the batch's."""


class TaskDraws:
    """The tasks of an environment, as the rows of a trainer's datasets ask for them.

    Where the environment has a curriculum, a row that names a place gets the task that is there
    now. `known` are those asked for by id, and those of other sets that stand beside them.
    """

    def __init__(self, env: ToolEnv, seed: int) -> None:
        self._env = env
        self._seed = seed
        self._by_place = curriculum_of(env) is not None
        self.known: dict[str, Task] = {}
        self._calls: dict[bool, tuple[int, int]] = {}

    def task(self, prompt: Any) -> Task:
        """Return the task of a row. Raises `UsageError` where there is none."""
        task_id = prompt[-1].get("task_id") if isinstance(prompt, list) else None
        if task_id is None:
            raise UsageError("train_dataset: a prompt without task_id; pass rollouts.dataset")
        place = prompt[-1].get("place")
        if self._by_place and place is not None:
            return self._env.tasks.task(place)
        if task_id not in self.known:
            try:
                self.known[task_id] = self._env.tasks.find(task_id)
            except (KeyError, IndexError):
                raise UsageError(
                    f"dataset: no task {brief(task_id)} in the environment; for an eval_dataset"
                    " pass rollouts.heldout_dataset(tasks, size)"
                ) from None
        return self.known[task_id]

    def assignments(self, tasks: Sequence[Task], trainer: Any) -> list[Assignment]:
        """Return what to play; an episode's seed is its own among steps, calls and prompts.

        It hangs on the prompt's place in the batch of all ranks, each of which has one part of it
        after the other: however many there are, they draw what one would. Calls are counted within
        the step, and an evaluation's apart: a run that goes on, or is evaluated in between, then
        draws as one that never was.
        """
        step, rank, training = trainer.state.global_step, rank_of(trainer), trainer.model.training
        last, call = self._calls.get(training, (None, 0))
        call = call + 1 if last == step else 0
        self._calls[training] = (step, call)
        name, drawn = (f"{step + 1}", step) if training else (f"evaluation.{step}", -1)
        return [
            Assignment(
                task,
                f"{name}-{call}.{rank}.{i}",
                hash((self._seed, drawn, call, 0, rank * len(tasks) + i)) & 0x7FFF_FFFF,
            )
            for i, task in enumerate(tasks)
        ]

    def others(self, trainer: Any) -> Iterator[Assignment]:
        """Yield other tasks in place of those that taught nothing, each for a whole group.

        They follow from the step, as the tasks of a batch do: a run that goes on draws them again.
        """
        step, rank, group = trainer.state.global_step, rank_of(trainer), trainer.num_generations
        call = self._calls[True][1]
        draws = random.Random(f"others {self._seed}/{step}/{call}/{rank}")
        size = self._env.tasks.size
        for drawn in count(step=group):
            task = self._env.tasks.task(draws.randrange(_ENDLESS if size is None else size))
            for number in range(drawn, drawn + group):
                seed = random.Random(f"{self._seed}/{step}/{call}/{rank}/{number}")
                name = f"{step + 1}-other.{call}.{rank}.{number}"
                yield Assignment(task, name, seed.getrandbits(31))


def rank_of(trainer: Any) -> int:
    """Return the number of the process that the trainer runs in, from 0."""
    return int(trainer.accelerator.process_index)
