"""The trained adapter on its way to servers: a few hundred megabytes where weights are tens of GB.

vLLM serves the checkpoint itself (`--enable-lora --max-lora-rank RANK`, with
`VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`), and loads each version of the adapter beside it, under one
name that requests ask for.
"""

from __future__ import annotations

import asyncio
import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import torch
from accelerate.utils import broadcast_object_list

from qwq_env import portal
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import HttpClient, Refused
from qwq_env.rollout.vllm_policy import server_urls
from qwq_env.training.weight_sync import WeightSync

ADAPTER: Final = "policy"
"""The name under which servers know the adapter."""

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 1.0
_KEPT: Final = 2
"""Versions that stay on disk: a server may be started anew while the newest is written."""


class AdapterWeightSync(WeightSync):
    """Writes each version of the adapter below `directory` and has vLLM servers load it.

    `directory` is a folder that trainer and servers see under the same path.
    """

    def __init__(
        self,
        directory: str | Path,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
    ) -> None:
        """`seconds` bounds the wait for one answer. Raises `UsageError` for an odd address."""
        self.directory = Path(directory).resolve()
        self.urls = server_urls(urls)
        self._http = HttpClient(
            key=ApiKey(api_key), attempts=_ATTEMPTS, seconds=seconds, backoff=_PAUSE_SECONDS
        )

    def push(self, trainer: Any) -> None:
        """Gather, write and load; rank 0 does the last two, the others wait for how it went.

        Raises `InfrastructureError`, of the same text on every rank, for whatever went wrong.
        """
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        if not hasattr(model, "peft_config"):
            raise UsageError("weights: the model has no adapter; expected policy.lora")
        state = trained_state(model)
        failure: list[str | None] = [None]
        cause: Exception | None = None
        if accelerator.is_main_process:
            try:
                folder = self._write(model, state, trainer.state.global_step)
                portal.run(self._load_all(folder))
            except Exception as error:  # noqa: BLE001 - whatever it is, all ranks must hear of it
                failure, cause = [f"{type(error).__name__}: {error}"], error
        broadcast_object_list(failure)
        if failure[0] is not None:
            raise InfrastructureError(f"weights: {failure[0]}") from cause

    def _write(self, model: Any, state: dict[str, torch.Tensor], version: int) -> Path:
        folder = self.directory / f"v{version:06d}"
        part = folder.with_suffix(".part")
        for stale in (part, folder):
            shutil.rmtree(stale, ignore_errors=True)
        save_adapter(model, state, part)
        part.rename(folder)
        for old in sorted(self.directory.glob("v*[0-9]"))[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    async def _load_all(self, folder: Path) -> None:
        try:
            await asyncio.gather(*(self._load(url, folder) for url in self.urls))
        finally:
            await self._http.aclose()

    async def _load(self, url: str, folder: Path) -> None:
        body = {"lora_name": ADAPTER, "lora_path": str(folder), "load_inplace": True}
        try:
            await self._http.request("POST", f"{url}/v1/load_lora_adapter", _ignore, body=body)
            # What was computed with the adapter's last version is kept under the same name.
            await self._http.request("POST", f"{url}/reset_prefix_cache", _ignore)
        except Refused as error:
            if error.status == 404:
                raise InfrastructureError(
                    f"{error}; expected vLLM with --enable-lora, VLLM_SERVER_DEV_MODE=1 and"
                    " VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
                ) from None
            raise


def save_adapter(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the adapter that is trained, and not the one that `grpo.beta` compares it with."""
    # Whether embeddings were resized, which PEFT would ask a hub: they are not.
    model.save_pretrained(
        folder, state_dict=state, selected_adapters=["default"], save_embedding_layers=False
    )


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights that are trained, whole and on the CPU; collective where they are not.

    The others stay where they are: below adapters they are a hundred times as many.
    """
    state = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            whole = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
            if hasattr(weight, "ds_id"):
                whole = _gathered(weight)
            state[name] = whole.detach().to("cpu", copy=True)
    return state


def _gathered(weight: Any) -> torch.Tensor:
    deepspeed: Any = importlib.import_module("deepspeed")  # it made the weight, so it is there
    with deepspeed.zero.GatheredParameters([weight]):
        whole: torch.Tensor = weight.detach().clone()
    return whole


async def _ignore(response: httpx.Response) -> None:
    await response.aread()
