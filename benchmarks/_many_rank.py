"""What one rank of `many_ranks.py` and of `kills.py` does: `qwq train`, with FSDP2 where asked for.

accelerate has FSDP2 for accelerators alone, and a recipe too; what is here brings both onto a CPU,
with the settings of recipes/accelerate/fsdp2.yaml and all else as on GPUs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import accelerate.state
import torch.distributed.fsdp
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType

from qwq_env.training.recipe import load_recipe
from qwq_env.training.run import train

ROOT = Path(__file__).resolve().parents[1]


def main(
    recipe_name: str, strategy: str, overrides: list[str], runs: str, resume: bool, folder: Path
) -> None:
    """Run a recipe with `overrides` below `runs`; leave an empty result in `folder`."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "examples"))
    torch.set_num_threads(1)
    recipe = load_recipe(ROOT / "recipes" / f"{recipe_name}.yaml", overrides)
    if strategy == "fsdp2":
        shard_on_cpu()
        # Not said in `overrides`: there it is refused without GPUs.
        object.__setattr__(recipe.cluster, "strategy", strategy)
    train(recipe, Path(runs), resume=resume)
    (folder / f"rank-{PartialState().process_index}.json").write_text("{}")
    # As it is: torch may wait for ever where it lets go of gloo's threads.
    os._exit(0)


def shard_on_cpu() -> None:
    """Let accelerate shard on a CPU; called before its state is made."""
    settings = yaml.safe_load((ROOT / "recipes" / "accelerate" / "fsdp2.yaml").read_text())
    for name, value in settings["fsdp_config"].items():
        os.environ[name.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    os.environ["ACCELERATE_USE_FSDP"] = "true"
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
