"""What each of two ranks does; started by `test_weight_sync_ranks.py` with torchrun."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM

from qwq_env.errors import InfrastructureError
from qwq_env.training.weight_sync import DiskWeightSync


def main(folder: Path, url: str, out: Path) -> None:
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    wrapped = accelerator.prepare(model)
    assert accelerator.num_processes == 2
    trainer = SimpleNamespace(accelerator=accelerator, model=model, model_wrapped=wrapped)
    try:
        DiskWeightSync(folder, url).push(trainer)
        result = "pushed"
    except InfrastructureError as error:
        result = str(error)
    (out / str(accelerator.process_index)).write_text(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
