"""What all phases of a stage have in common: its recipe, its folder, who runs it, who is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import PartialState

from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.rollout.store import place_of
from qwq_env.training.phase_seconds import PhaseSeconds
from qwq_env.training.placement import loading
from qwq_env.training.progress import Phase, Reporter
from qwq_env.training.run_folder import RunFolder
from qwq_env.training.stages.stage import Stage


class StageContext:
    """A stage under way on one of several `processes`; the first, `rank` 0, writes and speaks."""

    def __init__(self, stage: Stage, processes: PartialState, reporter: Reporter) -> None:
        self.stage, self.recipe = stage, stage.recipe
        self.processes, self.reporter = processes, reporter
        self.rank, self.world = processes.process_index, processes.num_processes
        self.folder = RunFolder(stage.folder, self.rank)
        self.seconds = PhaseSeconds(self.folder)

    @property
    def start(self) -> str:
        """The checkpoint that reinforcement learning starts from: the cold start's, if the stage
        has made one, or what the recipe names."""
        if self.folder.done("cold_start") is None:
            return self.recipe.policy.checkpoint
        # What is trained on it names it, and is read from other places than the run was begun in.
        return str(self.folder.cold.absolute())

    @contextmanager
    def phase(self, name: str, title: str, total: int, unit: str) -> Iterator[Phase]:
        """Show a phase, and count its seconds under `name`."""
        shown = self.reporter.phase(title, total, unit, self.seconds.tick)
        with self.seconds.phase(name), shown:
            yield shown

    def forget(self, *phases: str) -> None:
        """Take out the episodes of phases that begin anew, with another policy."""
        self.folder.forget_rows(self.folder.episodes, lambda row: row["phase"] in phases)

    def stores(self, episode: str, first: int) -> bool:
        """Whether text and tokens of an episode are stored; of a sample, those of the `first`."""
        wanted = self.recipe.rollout.store
        return wanted == "all" or (wanted == "sample" and place_of(episode) < first)

    def load(self, path: str) -> tuple[Any, Any]:
        """Return a checkpoint's model and tokenizer, as the recipe wants them."""
        return load_checkpoint(path, device=self.processes.device, **loading(self.recipe))
