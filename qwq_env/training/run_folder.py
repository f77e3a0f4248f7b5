"""A run's folder: what is written where, and what is there already when a run goes on.

```
runs/<name>/
  recipe.yaml      the recipe as it was run
  state.json       the result of every phase that has ended, for --resume
  metrics.jsonl    one object a training step; of a batch's steps the first says what was played
  episodes.jsonl   every episode, text and tokens (other ranks': episodes-rank1.jsonl, ...)
  episodes.texts   what its rows share: tokens' texts, openings (episodes-rank1.texts, ...)
  ratios.jsonl     what the trainer made of their tokens (ratios-rank1.jsonl, ...)
  cold/  policy/   the checkpoint before and after reinforcement learning; the latter is sealed
  adapter/  reward_model/  what a stage has besides, where it has any
  checkpoints/     the trainer's own
  curve.png  summary.json  README.md (the model card, which is in policy/, too)
```
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError, brief
from qwq_env.evaluation.heldout import Result
from qwq_env.files.alone import LOCK, HeldFolder
from qwq_env.files.atomic import part_of, write_whole
from qwq_env.files.json_file import read_json_file
from qwq_env.training.checkpoint_seal import is_whole, unseal
from qwq_env.training.recipe import Recipe, dump_recipe, load_recipe

logger = logging.getLogger(__name__)


class RunFolder:
    """The folder of one run. `rank` 0 writes what there is only one of."""

    def __init__(self, path: Path, rank: int = 0) -> None:
        self.path = path
        self.rank = rank
        self.recipe = path / "recipe.yaml"
        self.state = path / "state.json"
        self.metrics = path / "metrics.jsonl"
        self.episodes = path / ("episodes.jsonl" if rank == 0 else f"episodes-rank{rank}.jsonl")
        self.cold = path / "cold"
        self.policy = path / "policy"
        self.adapter = path / "adapter"
        self.reward_model = path / "reward_model"
        self.checkpoints = path / "checkpoints"
        self.curve = path / "curve.png"
        self.summary = path / "summary.json"
        self._held: HeldFolder | None = None

    def check(self, recipe: Recipe, *, resume: bool) -> None:
        """See whether a run of this recipe may begin or go on here; writes nothing.

        Raises `UsageError` if it holds a run and `resume` is not given, or if it holds a run of
        another recipe, and says what differs. Only rank 0 looks; the others wait for it.
        """
        if self.rank != 0:
            return
        if self.recipe.exists():
            if not resume:
                raise UsageError(f"run: {self.path} exists; give --resume, or name=... for another")
            # Read, not compared as text: it may have been written before there was some key.
            try:
                begun = _lasting(load_recipe(self.recipe))
            except UsageError as error:
                raise UsageError(
                    f"run: {self.path} cannot go on: {error}; expected its recipe as this version"
                    " writes it (mend it there, or name=... for another)"
                ) from None
            if (changed := _changed(asdict(begun), asdict(_lasting(recipe)))) is not None:
                raise UsageError(
                    f"run: {self.path} was begun with another recipe: {changed}; expected the same,"
                    " or name=... for another"
                )
        elif self.path.exists() and _is_taken(self.path):
            raise UsageError(f"run: {self.path} is not empty and holds no run; choose another name")

    def claim(self, recipe: Recipe, *, resume: bool) -> None:
        """Begin or continue in this folder, and hold it until the end of this object.

        Raises `UsageError` as `check` does, and while another process writes in it.
        """
        if self.rank != 0:
            return
        self.check(recipe, resume=resume)
        self.path.mkdir(parents=True, exist_ok=True)
        self._held = HeldFolder(self.path, "run")
        self.check(recipe, resume=resume)  # another may have been quicker
        self.begin(recipe)

    def begin(self, recipe: Recipe) -> None:
        """Make the folder of a stage, whose run was claimed."""
        if self.rank == 0:
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.recipe, dump_recipe(recipe))

    def done(self, phase: str) -> Any:
        """Return the result of a phase that has ended, None if it has not."""
        return self._read_state().get(phase)

    def result(self, phase: str) -> Result | None:
        """Return what an evaluation that has ended came to, None if it has not.

        Raises `UsageError` for what another version wrote otherwise.
        """
        done = self.done(phase)
        if not done:
            return None
        try:
            return Result(**done)
        except TypeError:
            raise UsageError(
                f"run: {self.state}: {phase}: {brief(done)}; expected what this version writes of"
                " an evaluation (take it out, and it is played again)"
            ) from None

    def mark_done(self, phase: str, result: Any) -> None:
        """Write down that a phase has ended, and its result."""
        if self.rank == 0:
            state = self._read_state()
            state[phase] = result
            write_whole(self.state, json.dumps(state, indent=1))

    def last_checkpoint(self) -> tuple[Path, int] | None:
        """Return the trainer's newest checkpoint that is whole, and its step; None if none is.

        Those that a kill left torn are passed over, with a warning. Raises `UsageError` if there
        is nothing but torn ones: it is not for us to throw away what was learned until there.
        """
        found = {
            int(match[1]): path
            for path in self.checkpoints.glob("checkpoint-*")
            if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
        }
        torn: list[str] = []
        for step, path in sorted(found.items(), reverse=True):
            if is_whole(path):
                if torn and self.rank == 0:
                    names = ", ".join(torn)
                    logger.warning("%s: not whole; going on from %s", names, path.name)
                return path, step
            torn.append(path.name)
            if self.rank == 0:
                # It will be written again; what is sealed now would not fit it then.
                unseal(path)
        if torn:
            raise UsageError(
                f"run: {self.checkpoints / torn[0]} is not whole, and none before it is;"
                f" delete {self.checkpoints} to begin GRPO again from the cold start"
            )
        return None

    def forget_rows(self, path: Path, stale: Callable[[dict[str, Any]], bool]) -> None:
        """Take out of a JSONL file what will be done again, and a torn last line.

        Raises `UsageError` for another line that is no object, or not one of a run's, and leaves
        the file as it was.
        """
        if not path.exists():
            return
        part = part_of(path)
        with path.open("rb") as lines, part.open("wb") as kept:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    continue
                row = _row(path, number, line)
                try:
                    if not stale(row):
                        kept.write(line)
                except (KeyError, TypeError, ValueError):
                    columns = brief(", ".join(row))
                    raise UsageError(
                        f"{path}:{number}: {columns}; expected what this version writes of a run;"
                        " mend it or delete it"
                    ) from None
        part.replace(path)

    def _read_state(self) -> dict[str, Any]:
        if not self.state.exists():
            return {}
        state = read_json_file(self.state)
        if state is None:
            raise UsageError(f"run: {self.state} is damaged; without it every phase is run again")
        return state


def _lasting(recipe: Recipe) -> Recipe:
    """Return a recipe without what a run may go on with otherwise: where its servers are, what is
    stored, who is told, and what a stage may cost."""
    return replace(
        recipe,
        policy=replace(recipe.policy, servers=[]),
        cluster=replace(recipe.cluster, port=1),
        stages=[replace(stage, gates=[]) for stage in recipe.stages],
        rollout=replace(recipe.rollout, store="all"),
        report_to=[],
    )


def _changed(before: Any, after: Any, where: str = "") -> str | None:
    """Return the first key that differs and both its values, None if none does."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys((*before, *after))
        found = (_changed(before.get(name), after.get(name), f"{where}.{name}") for name in names)
        return next(filter(None, found), None)
    if before == after:
        return None
    return f"{where[1:]} was {brief(before)} and is {brief(after)}"


def _is_taken(path: Path) -> bool:
    """Say whether there is more than what a run that could not begin left."""
    return not path.is_dir() or any(file.name != LOCK for file in path.iterdir())


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}:{number}: not JSON: {error}; mend it or delete it") from None
    if not isinstance(row, dict):
        raise UsageError(f"{path}:{number}: {brief(row)}; expected an object")
    return row
