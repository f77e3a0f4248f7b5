"""Whole weights on their way to vLLM servers, through a folder that they share with the trainer."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import safe_open
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from qwq_env import portal
from qwq_env.errors import UsageError, brief
from qwq_env.training.weights.base import Pushed, WeightSync, on_first_rank
from qwq_env.training.weights.servers import Update, WeightServers
from qwq_env.training.weights.shares import in_dtype, join_shares, write_shares
from qwq_env.training.weights.versions import (
    begin_version,
    end_version,
    keep_newest,
    size_of,
    version_at,
)

_WEIGHTS: Final = "*.safetensors*"
_CURRENT: Final = "current"
_SHARD: Final = "5GB"

Dtype = Literal["bfloat16", "float16", "float32"]
_DTYPES: Final = ("bfloat16", "float16", "float32")


class DiskWeightSync(WeightSync):
    """Writes each version of the weights below the folder that vLLM servers were started on, and
    has them read it.

    `directory` is that folder, made by `prepare_served`; each push writes `directory/v000123`, a
    checkpoint of its own in parts of 5 GB, and keeps the one before. The folder's own safetensors
    become links to the newest version, switched in one move, so that a server that is started anew
    begins with it. All servers at `urls` see the folder under the same path, and run with
    `VLLM_SERVER_DEV_MODE=1`, which opens the routes that this needs; keep them off public networks.
    All ranks that see the folder write, each a share. Takes as long as that, and as reading the
    whole model. Adapters (PEFT) are refused: see
    `AdapterWeightSync`.
    """

    def __init__(
        self,
        directory: str | Path,
        urls: str | Sequence[str],
        *,
        dtype: Dtype | None = None,
        min_servers: int = 1,
        api_key: str | None = None,
        seconds: float = 600.0,
    ) -> None:
        """`dtype` is what is written; by default what the trainer computes in: bfloat16 with
        `bf16=True`, though its weights are float32. `seconds` bounds the wait for one answer.

        A server that fails is left out until the next push; fewer than `min_servers` end the
        training. Raises `UsageError` for a bad folder, address or number.
        """
        self.directory = Path(directory)
        if dtype not in (None, *_DTYPES):
            raise UsageError(f"dtype: {brief(dtype)}; expected one of {', '.join(_DTYPES)}")
        self._dtype = dtype
        self._servers = WeightServers(urls, api_key=api_key, seconds=seconds, least=min_servers)
        self._names = _check_served(self.directory)

    def __repr__(self) -> str:
        return f"DiskWeightSync({str(self.directory)!r}, {list(self.urls)!r})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers' addresses."""
        return self._servers.urls

    def push(self, trainer: Any) -> Pushed:
        """Write and reload: all ranks write, each a share of the weights, and rank 0 does the rest.

        Raises `InfrastructureError`, of the same text on every rank, for whatever went wrong.
        """
        began = time.perf_counter()
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        if hasattr(model, "peft_config"):
            raise UsageError("weights: the model has adapters; expected AdapterWeightSync for them")
        version = int(trainer.state.global_step)
        name = self._dtype or _COMPUTED_IN.get(accelerator.mixed_precision)
        dtype = None if name is None else getattr(torch, name)
        part = on_first_rank(accelerator, lambda: begin_version(self.directory, version))

        def finish_and_tell(files: Sequence[Path]) -> Pushed:
            folder = self._finish(part, files)
            servers = self._tell(folder)
            return Pushed(version, time.perf_counter() - began, size_of(folder), servers)

        try:
            files = write_shares(trainer, part, dtype)
            return on_first_rank(accelerator, lambda: finish_and_tell(files))
        except BaseException:
            if accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)
            raise

    def bring(self, version: int) -> tuple[str, ...]:
        """Let servers have a version that was pushed before; see `WeightSync`."""
        return self._tell(version_at(self.directory, version))

    def _tell(self, folder: Path) -> tuple[str, ...]:
        # The path is given each time: a server goes on with the last one that it was told.
        arguments = {"weights_path": str(folder.resolve())}
        update = Update(
            "/collective_rpc",
            {"method": "reload_weights", "kwargs": arguments},
            "expected a vLLM server with VLLM_SERVER_DEV_MODE=1",
        )
        return portal.run(self._servers.update(lambda url: update))

    def _finish(self, part: Path, files: Sequence[Path]) -> Path:
        """Make a version of what the ranks wrote, and let the folder's own names stand for it."""
        join_shares(part, files)
        if (names := _tensor_names(part)) != self._names:
            odd = ", ".join(sorted(names ^ self._names)[:3])
            raise UsageError(f"weights: {self.directory} holds another model: {odd}")
        for path in self.directory.iterdir():
            # Configuration and tokenizer are those that the servers were started with.
            if path.is_file() and not path.match(_WEIGHTS):
                shutil.copy(path, part)
        folder = end_version(part)
        _let_stand_for(self.directory, folder)
        keep_newest(self.directory, folder)
        return folder


_COMPUTED_IN: Final = {"bf16": "bfloat16", "fp16": "float16"}


def _let_stand_for(directory: Path, version: Path) -> None:
    """Make the safetensors of `directory` links to those of `version`, all of them at once.

    They lead through the link `current`, and it alone is moved. Files that are none yet are put
    into a version first, so that at no moment a reader finds parts of two.
    """
    current = directory / _CURRENT
    own = {path.name: path for path in directory.glob(_WEIGHTS)}
    if any(not path.is_symlink() for path in own.values()):
        first = directory / "v-first"
        shutil.rmtree(first, ignore_errors=True)
        first.mkdir()
        for name, path in own.items():
            os.link(path.resolve(), first / name)
        _link(current, first.name)
    names = {path.name for path in version.glob(_WEIGHTS)}
    for name in {*names, *own}:
        _link(directory / name, f"{_CURRENT}/{name}")
    _link(current, version.name)
    for name in own.keys() - names:
        (directory / name).unlink()
    shutil.rmtree(directory / "v-first", ignore_errors=True)


def _link(path: Path, target: str) -> None:
    """Let `path` lead to `target`, in one move."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)  # a copy of a served folder has a folder there
    new = path.with_name(f".new-{path.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def prepare_served(
    model: Any, tokenizer: Any, directory: str | Path, *, dtype: Dtype | None = None
) -> None:
    """Write the folder that servers are started on: `model`, with its output head on its own.

    `dtype` is what is written, by default what the weights are.

    Why not `save_pretrained`: a head that is tied to the embeddings has no weights in the
    checkpoint, and vLLM on CPU, which keeps a packed copy of it, then reloads the embeddings and
    goes on with the old head, without a word.
    """
    path = Path(directory)
    for old in path.glob(_WEIGHTS):
        old.unlink()  # Links of a run before, and an index, which names parts that go.
    written = None if dtype is None else getattr(torch, dtype)
    _save_untied(model, model.state_dict(), path, written)
    tokenizer.save_pretrained(path)
    change_config(path, tie_word_embeddings=False, **({} if dtype is None else {"dtype": dtype}))


def change_config(folder: Path, **changes: Any) -> None:
    """Write keys into the `config.json` of a checkpoint."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _save_untied(
    model: Any, state: dict[str, Any], directory: Path, dtype: torch.dtype | None
) -> None:
    """Write a model whose head is no tensor of its own so that it is one.

    `state` is used up: one tensor after the other is exchanged for that in `dtype`, since a second
    copy of the whole may not fit.
    """
    for name, tensor in state.items():
        state[name] = in_dtype(tensor, dtype)
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is embeddings.weight:
        modules = {id(module): name for name, module in model.named_modules()}
        source = state[f"{modules[id(embeddings)]}.weight"]
        # A copy: tensors that share their memory are written once.
        state[f"{modules[id(head)]}.weight"] = source.detach().clone()
    with _quietly():
        model.save_pretrained(directory, state_dict=state, max_shard_size=_SHARD)


def _check_served(directory: Path) -> set[str]:
    """Return the names of a folder's tensors. Raises `UsageError` unless it can be served from."""
    weights = list(directory.glob("*.safetensors"))
    if not weights or not (directory / "config.json").is_file():
        raise UsageError(f"weights: {str(directory)!r} is no checkpoint in safetensors")
    if any(path.is_symlink() and not _is_ours(path) for path in weights):
        # What a hub's cache looks like; other runs start from those files.
        raise UsageError(f"weights: {str(directory)!r} holds links; expected a copy of its own")
    if AutoConfig.from_pretrained(directory).tie_word_embeddings:
        raise UsageError(
            f"weights: {str(directory)!r} has its output head tied to the embeddings, which vLLM"
            " may not reload; expected a folder made by prepare_served"
        )
    return _tensor_names(directory)


def _is_ours(link: Path) -> bool:
    return link.readlink() == Path(_CURRENT, link.name)


def _tensor_names(directory: Path) -> set[str]:
    names: set[str] = set()
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names.update(file.keys())
    return names


@contextmanager
def _quietly() -> Iterator[None]:
    """Draw no progress bar: there would be one at every step."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
