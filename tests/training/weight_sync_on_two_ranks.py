"""What each of two ranks does for `test_weight_sync_ranks.py`."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from qwq_env.errors import InfrastructureError
from qwq_env.training.weights.disk import DiskWeightSync

from ..ranks import leave


def push(folder: Path, url: str, out: Path, kind: str) -> None:
    """Add 1 to every weight and push; write what came of it to a file of the rank's."""
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    # As training has it: the head of what is served is on its own, that of the model is not.
    model = AutoModelForCausalLM.from_pretrained(folder, tie_word_embeddings=True)
    wrapped = sharded(accelerator, model) if kind == "fsdp2" else accelerator.prepare(model)
    assert accelerator.num_processes == 2
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1
    if kind == "full disk":
        # No file may grow beyond this: the configuration fits, the weights do not.
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    trainer = SimpleNamespace(
        accelerator=accelerator, model=model, model_wrapped=wrapped,
        state=SimpleNamespace(global_step=7),
    )  # fmt: skip
    try:
        pushed = DiskWeightSync(folder, url).push(trainer)
        result = f"pushed {pushed.version} to {len(pushed.servers)}"
    except InfrastructureError as error:
        result = str(error)
    (out / str(accelerator.process_index)).write_text(result)
    accelerator.wait_for_everyone()
    leave()


def sharded(accelerator: Accelerator, model: Any) -> Any:
    """Shard the model as FSDP2 does; accelerate itself would only do it on GPUs."""
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    assert accelerator.is_fsdp2
    mesh = init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    return model
