"""What each of two ranks does for `test_placement.py`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers.utils import ModelOutput

from qwq_env.training.placement import keep_float32
from qwq_env.training.weights.nccl import send_as

from ..ranks import leave


class Scored(torch.nn.Module):
    """Gives the sum of its weights, which is bfloat16, and a log-probability, which is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self) -> ModelOutput:
        """Return both."""
        total = self.weight.sum()
        return ModelOutput(total=total, logprob=total.float() * 0 - 5.0123)


def compute(out: Path, kept: bool) -> None:
    """Take a sharded model through a pass in bfloat16; write what came of it."""
    rank = PartialState(cpu=True).process_index
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    if kept:
        keep_float32(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
    model = Scored()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)), mp_policy=plugin.mixed_precision_policy)
    # gloo takes no means
    model.set_force_sum_reduction_for_comms(True)
    given = model()
    # 1 and 1.01, which bfloat16 has as 1.0078125.
    (given["total"].float() * (1.0 + 0.01 * rank)).backward()
    sender = SimpleNamespace(_fix_param_name_to_vllm=lambda name: name)
    send_as(SimpleNamespace(model=model, vllm_generation=sender), torch.bfloat16)
    sent = {name: str(weight.dtype) for name, weight in sender._iter_named_params()}
    result = {
        "computed": str(given["total"].dtype), "logprob": given["logprob"].item(),
        "gradient": model.weight.grad.full_tensor()[0].item(), "sent": sent,
    }  # fmt: skip
    (out / f"{rank}.json").write_text(json.dumps(result))
    leave()
