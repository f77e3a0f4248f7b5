"""A checkpoint that all ranks write at once, each a share of the weights.

One rank alone would hold all of them in its memory (131 GB of 32 billion in float32) and write them
at the speed of one process. Here each gathers with the others, keeps what is its own in the type
that is written, and writes that: memory and time are those of a share.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, gather_object
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open
from transformers.core_model_loading import revert_weight_conversion

from qwq_env.training.weights.base import on_every_rank
from qwq_env.training.weights.versions import to_disk

_SHARD: Final = "5GB"
_RANK: Final = "rank"
_SEEN_SECONDS: Final = 90.0
"""What one machine has written another may see late: NFS remembers folders for up to a minute."""
_LAYER: Final = re.compile(r"(.*?\.\d+)\.")
"""A name's beginning up to the number of a layer: tensors of a layer may be joined in a checkpoint
that are apart in the model."""


def write_shares(trainer: Any, folder: Path, dtype: torch.dtype | None) -> list[Path]:
    """Write a trainer's weights into `folder`; return the files, for `join_shares`. Collective.

    Ranks that do not see the folder, on another machine, write nothing. `dtype` is what is written,
    by default what the weights are. A head that is tied to the embeddings is written on its own.
    Raises `InfrastructureError`, of the same text on every rank, for what went wrong in writing.
    """
    writers = [rank for rank, sees in enumerate(gather_object([folder.is_dir()])) if sees]
    model, own = trainer.accelerator.unwrap_model(trainer.model), own_share(trainer, writers, dtype)
    for name in getattr(model, "_keys_to_ignore_on_save", None) or ():
        own.pop(name, None)
    place = folder / f"{_RANK}{PartialState().process_index}"

    def write() -> list[Path]:
        if not own:
            return []
        place.mkdir()
        state = revert_weight_conversion(model, own)
        save_torch_state_dict(state, place, max_shard_size=_SHARD, metadata={"format": "pt"})
        files = sorted(place.glob("*.safetensors"))
        for file in files:
            to_disk(file)
        return files

    return [file for files in on_every_rank(write) for file in files]


def own_share(
    trainer: Any, writers: Sequence[int], dtype: torch.dtype | None
) -> dict[str, torch.Tensor]:
    """Return what this rank is to write, whole and on the CPU; collective where it is sharded."""
    accelerator, rank = trainer.accelerator, PartialState().process_index
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        # Its flat parameters can only be gathered all at once.
        weights, writers = accelerator.get_state_dict(trainer.model_wrapped), writers[:1]
    else:
        weights = accelerator.unwrap_model(trainer.model).state_dict(keep_vars=True)
    owners = owners_of({name: _size(weight) for name, weight in weights.items()}, writers)
    own = {}
    for name, weight in weights.items():
        if owners[name] == rank or _is_sharded(weight):
            whole = whole_of(weight, dtype)
        if owners[name] == rank:
            # A copy: tensors that share their memory would be written once.
            own[name] = whole.to("cpu", copy=True)
    return own


def owners_of(sizes: Mapping[str, int], writers: Sequence[int]) -> dict[str, int]:
    """Return which rank writes each of the weights: parts of like size, each in one piece."""
    total, before = max(1, sum(sizes.values())), 0
    owners: dict[str, int] = {}
    layer, owner = None, writers[0]
    for name, size in sizes.items():
        match = _LAYER.match(name)
        if match is None or match[1] != layer:
            owner = writers[min(before * len(writers) // total, len(writers) - 1)]
        layer = match and match[1]
        owners[name] = owner
        before += size
    return owners


def whole_of(weight: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return a weight as a whole, in `dtype` if it is of fractions; collective if it is sharded."""
    if _is_sharded(weight) and not hasattr(weight, "full_tensor"):
        # A weight of its own is here, so it is installed.
        import deepspeed  # type: ignore[import-not-found]  # noqa: PLC0415

        with deepspeed.zero.GatheredParameters([weight]):
            gathered = weight.detach().clone()
        return in_dtype(gathered, dtype)
    # Before it travels: half as much then.
    cast: Any = in_dtype(weight.detach(), dtype)
    whole: torch.Tensor = cast.full_tensor() if _is_sharded(weight) else cast
    return whole


def _is_sharded(weight: Any) -> bool:
    """Whether a rank has a part of it only: by FSDP2, or by ZeRO-3."""
    return hasattr(weight, "full_tensor") or hasattr(weight, "ds_id")


def in_dtype(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Return a tensor in `dtype`; what is no fraction stays as it is."""
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _size(weight: Any) -> int:
    return int(getattr(weight, "ds_numel", weight.numel()))


def join_shares(folder: Path, files: Sequence[Path]) -> None:
    """Make one checkpoint in `folder` of the files that the ranks wrote below it."""
    names: dict[str, str] = {}
    size = 0
    for number, path in enumerate(files, start=1):
        part = f"-{number:05d}-of-{len(files):05d}" if len(files) > 1 else ""
        name = f"model{part}.safetensors"
        _wait_for(path)
        with safe_open(path, framework="pt") as file:
            names |= dict.fromkeys(file.keys(), name)
        size += path.stat().st_size
        path.rename(folder / name)
    for rank in {path.parent for path in files}:
        shutil.rmtree(rank)
    if len(files) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": names}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _SEEN_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
