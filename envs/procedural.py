"""What procedural task sets share: a seed, a difficulty, a split, and ids that hold all three."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.task import Task, TaskSet, find_by_index

_HELD_OUT_OF_256 = 64


class ProceduralTaskSet(TaskSet):
    """Endless tasks of one `difficulty`, from 1 to `levels`, and of one `split`, by index."""

    family: ClassVar[str]
    levels: ClassVar[int]
    size = None

    def __init__(
        self,
        *,
        seed: int = 0,
        difficulty: int = 1,
        split: Literal["train", "heldout"] | str = "train",
    ) -> None:
        """Raises `UsageError` for a difficulty or a split that there is not."""
        if difficulty not in range(1, self.levels + 1):
            raise UsageError(f"difficulty: {brief(difficulty)}; expected 1 to {self.levels}")
        if split not in ("train", "heldout"):
            raise unknown("split", split, ("train", "heldout"))
        self.seed = seed
        self.difficulty = difficulty
        self.split = split

    def find(self, task_id: str) -> Task:
        """Return the task with that id. Raises `KeyError` for an id of another set."""
        return find_by_index(self, self._prefix, task_id)

    @property
    def _prefix(self) -> str:
        return f"{self.family}/{self.difficulty}/{self.split}/{self.seed}/"


def split_of(content: str) -> str:
    """Return the split that a task belongs to by what it is made of: a quarter is held out."""
    digest = hashlib.blake2b(content.encode(), digest_size=1).digest()
    return "heldout" if digest[0] < _HELD_OUT_OF_256 else "train"
