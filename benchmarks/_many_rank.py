"""What one rank of `many_ranks.py` and of `kills.py` does: `qwq train`, sharded where asked for.

accelerate has FSDP2 and ZeRO-3 for accelerators alone, and a recipe too; what is here brings them
onto a CPU, with the settings of recipes/accelerate/ and all else as on GPUs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import accelerate.state
import torch.distributed.fsdp
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType

from qwq_env.training.recipe import load_recipe
from qwq_env.training.recipe.cluster import ClusterRecipe
from qwq_env.training.run import train

ROOT = Path(__file__).resolve().parents[1]


def main(
    recipe_name: str, strategy: str, overrides: list[str], runs: str, resume: bool, folder: Path
) -> None:
    """Run a recipe with `overrides` below `runs`; leave an empty result in `folder`."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "examples"))
    torch.set_num_threads(1)
    if strategy != "ddp":
        {"fsdp2": shard_on_cpu, "zero3": shard_with_deepspeed}[strategy]()
        # It refuses this without GPUs, also where the recipe of a run is read again.
        ClusterRecipe.__post_init__ = lambda cluster: None  # type: ignore[method-assign]
        overrides = [*overrides, f"cluster.strategy={strategy}"]
    recipe = load_recipe(ROOT / "recipes" / f"{recipe_name}.yaml", overrides)
    train(recipe, Path(runs), resume=resume)
    (folder / f"rank-{PartialState().process_index}.json").write_text("{}")
    # As it is: torch may wait for ever where it lets go of gloo's threads.
    os._exit(0)


def shard_on_cpu() -> None:
    """Let accelerate shard on a CPU; called before its state is made."""
    os.environ |= {"ACCELERATE_USE_FSDP": "true", **settings("fsdp2", "fsdp_config")}
    make, shard = accelerate.state.AcceleratorState.__init__, torch.distributed.fsdp.fully_shard

    def made(self: Any, *arguments: Any, fsdp_plugin: Any = None, **named: Any) -> None:
        make(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    def sharded(module: Any, **named: Any) -> Any:
        found = shard(module, **named)
        for each in module if isinstance(module, list | tuple) else [module]:
            each.set_force_sum_reduction_for_comms(True)  # gloo takes no means
        return found

    accelerate.state.AcceleratorState.__init__ = made  # type: ignore[method-assign]
    torch.distributed.fsdp.fully_shard = sharded


def shard_with_deepspeed() -> None:
    """Let accelerate hand the model to DeepSpeed on a CPU; called before its state is made."""
    given = settings("zero3", "deepspeed_config", "ACCELERATE_DEEPSPEED_")
    os.environ |= {"ACCELERATE_USE_DEEPSPEED": "true", "DS_ACCELERATOR": "cpu", **given}
    os.environ.pop("ACCELERATE_USE_CPU", None)
    for state, more in (
        (PartialState, {"backend": "gloo"}),
        (accelerate.state.AcceleratorState, {}),
    ):
        state.__init__ = without_cpu(state.__init__, more)  # type: ignore[method-assign]


def without_cpu(make: Callable[..., None], more: Mapping[str, str]) -> Callable[..., None]:
    """Return what makes a state as if nobody had said that it is on a CPU."""

    def made(self: Any, *arguments: Any, cpu: bool = False, **named: Any) -> None:
        make(self, *arguments, **{**named, **more})

    return made


def settings(file: str, section: str, prefix: str = "") -> dict[str, str]:
    """Return what `accelerate launch` sets of a file in recipes/accelerate/."""
    read = yaml.safe_load((ROOT / "recipes" / "accelerate" / f"{file}.yaml").read_text())
    return {
        prefix + name.upper().removesuffix("_FLAG"): as_text(value)
        for name, value in read[section].items()
    }


def as_text(value: Any) -> str:
    """Return a value as an environment variable has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
