"""Where each stage of a run lies, what it starts from, and whether that is sealed.

```
runs/<name>/                  a recipe without stages is one stage, and this is its folder
  recipe.yaml  summary.json  stages.png
  stages/<stage>/             the folder of a stage: see `run_folder.py`
    policy/                   what it leaves: weights, tokenizer, recipe, metrics, result; sealed
```

Nothing here loads a model: what a stage lacks is told at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from qwq_env.errors import UsageError, brief, unknown
from qwq_env.training.checkpoint_seal import broken, is_whole
from qwq_env.training.recipe import Recipe
from qwq_env.training.recipe.parts import POLICY, Part, parts_of


class Stage(NamedTuple):
    """A part of a run in its folder. `recipe` starts from `source`, if that is no policy of its
    own; `checked` is the folder that must be sealed before the stage begins, None for none."""

    part: Part
    recipe: Recipe
    folder: Path
    checked: Path | None

    @property
    def name(self) -> str:
        """The stage's name; that of the run where there are no stages."""
        return self.part.name or self.recipe.name

    @property
    def policy(self) -> Path:
        """The folder that is sealed at its end."""
        return self.folder / "policy"

    @property
    def sealed(self) -> bool:
        """Whether it has ended, and all that it left is there."""
        return is_whole(self.policy)


def stages_of(recipe: Recipe, root: Path, only: str | None = None) -> list[Stage]:
    """Return the stages of a run below `root`, or the one that is asked for.

    Raises `UsageError` for a stage that there is not, and a source that is neither stage nor
    checkpoint.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"runs: {root} is a file; expected the folder where runs lie")
    run = root / recipe.name
    stages: dict[str, Stage] = {}
    for part in parts_of(recipe):
        folder = run / "stages" / part.name if part.name else run
        if part.source == POLICY:
            stages[part.name] = Stage(part, part.recipe, folder, None)
            continue
        checked: Path | None
        if (before := stages.get(part.source)) is not None:
            checkpoint, checked = str(before.policy), before.policy
        else:
            checkpoint, checked = _outside(part, list(stages))
        policy = replace(part.recipe.policy, checkpoint=checkpoint)
        stages[part.name] = Stage(part, replace(part.recipe, policy=policy), folder, checked)
    if only is None:
        return list(stages.values())
    if not recipe.stages:
        raise UsageError(f"stage: {brief(only)}; the recipe has no stages: expected none here")
    if only not in stages:
        raise unknown("stage", only, [name for name in stages if name])
    return [stages[only]]


def check_sources(stages: Sequence[Stage], *, read: bool = True) -> None:
    """Raise `UsageError` for a stage to be run whose source is not sealed, nor made before it.

    Digests are `read`, so that a stage starts from what was sealed and nothing else; that takes as
    long as reading the weights.
    """
    made: set[Path] = set()
    for stage in stages:
        if stage.sealed:
            continue
        source = stage.checked
        wrong = None if source is None or source in made else broken(source, read=read)
        if wrong is not None:
            raise UsageError(f"stages.{stage.name}.source: {source} {wrong}")
        made.add(stage.policy)


def check_together(stages: Sequence[Stage]) -> None:
    """Raise `UsageError` for several stages in one process where servers or shards hold the model:
    each stage needs servers that began with its own source."""
    served = any(
        stage.recipe.policy.sampler == "vllm" or stage.recipe.cluster.sharded for stage in stages
    )
    if len(stages) > 1 and served:
        raise UsageError(
            f"stages: {len(stages)} are left; expected --stage {stages[0].name} (qwq launch runs"
            " one after the other), for servers begin with what a stage starts from"
        )


def _outside(part: Part, before: Sequence[str]) -> tuple[str, Path | None]:
    """Return the checkpoint that a source names, and its folder if that must be sealed."""
    path = Path(part.source)
    if path.is_dir():
        inner = path / "policy"
        if (path / "state.json").exists() or inner.is_dir():
            return str(inner), inner
        # A checkpoint that is no stage's has no seal; one of ours has its recipe beside it.
        ours = (path / "sealed.json").exists() or (path / "recipe.yaml").exists()
        if ours or not (path / "config.json").is_file():
            return str(path), path
        return str(path), None
    names = ", ".join((POLICY, *before))
    raise UsageError(
        f"stages.{part.name}.source: {brief(part.source)} is no folder; expected one that is"
        f" sealed, a checkpoint's, or one of {names}"
    )
