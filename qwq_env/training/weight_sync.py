"""How the trainer's weights reach the servers that sample for it.

With GPUs on both sides, TRL does it itself, over NCCL (`GRPOConfig(use_vllm=True,
vllm_mode="server")`, the server started with `--weight-transfer-config '{"backend":"nccl"}'`): it
pushes before each rollout whose step is new, and nothing of this file is needed. Where NCCL does
not run, on CPU or across machines that share no more than a file system, `DiskWeightSync` does it:

```python
prepare_served(model, tokenizer, "served")  # and start the servers on that folder
rollouts = Rollouts(
    "qwq/MathTool-v0", tokenizer,
    policy=lambda trainer: VllmPolicy(urls),
    weights=DiskWeightSync("served", urls),
)
```
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from accelerate.utils import broadcast_object_list
from safetensors import safe_open
from transformers import AutoConfig
from transformers.utils import logging as transformers_logging

from qwq_env import portal
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.api_key import ApiKey
from qwq_env.http.client import HttpClient, Refused
from qwq_env.rollout.vllm_policy import server_urls

_WEIGHTS = "*.safetensors*"


class WeightSync(ABC):
    """Brings the trainer's weights to whatever samples."""

    @abstractmethod
    def push(self, trainer: Any) -> None:
        """Return when every sampler has the weights of `trainer`, and none has an older one.

        Called on every rank, outside any episode, before the first rollout of each step; it may
        be collective. Raises `InfrastructureError`, on every rank, if a sampler could not take
        them: one left behind would mix two policies in a batch.
        """


class DiskWeightSync(WeightSync):
    """Writes the weights into the folder that vLLM servers were started on, and has them read it.

    `directory` is that folder, made by `prepare_served`: its safetensors are overwritten at every
    step, so that a server that is started anew begins with the newest. All servers at `urls` see
    it under the same path, and run with `VLLM_SERVER_DEV_MODE=1`, which opens the routes that
    this needs; keep them off public networks. Takes as long as writing and reading the whole
    model. Adapters (PEFT) are refused: merge them first.
    """

    def __init__(
        self,
        directory: str | Path,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
        attempts: int = 5,
        backoff: float = 0.5,
    ) -> None:
        """`seconds` bounds the wait for one server. One that fails on the way (no connection, 5xx)
        is told again, `attempts` times in all, with waits that double from `backoff` seconds: the
        hiccup of one server is no reason to end a run. Raises `UsageError` for a bad folder."""
        self.directory = Path(directory)
        self.urls = server_urls(urls)
        self._seconds = seconds
        self._http = HttpClient(
            key=ApiKey(api_key), attempts=attempts, seconds=seconds, backoff=backoff
        )
        self._names = _check_served(self.directory)

    def __repr__(self) -> str:
        return f"DiskWeightSync({str(self.directory)!r}, {list(self.urls)!r})"

    def push(self, trainer: Any) -> None:
        """Write and reload; rank 0 does it, the others wait for how it went.

        Raises `InfrastructureError`, of the same text on every rank, for whatever went wrong.
        """
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        if hasattr(model, "peft_config"):
            raise UsageError("weights: the model has adapters; expected one without (merge them)")
        # Sharded weights are gathered here, so every rank takes part.
        state = accelerator.get_state_dict(trainer.model_wrapped)
        failure: list[str | None] = [None]
        cause: Exception | None = None
        if accelerator.is_main_process:
            try:
                self._write(model, state)
                portal.run(self._reload_all())
            except Exception as error:  # noqa: BLE001 - whatever it is, all ranks must hear of it
                # The others wait in the broadcast. A full disk, for one, is a `SafetensorError`.
                failure, cause = [f"{type(error).__name__}: {error}"], error
        broadcast_object_list(failure)
        if failure[0] is not None:
            raise InfrastructureError(f"weights: {failure[0]}") from cause

    def _write(self, model: Any, state: dict[str, Any]) -> None:
        """Put the new weights in the place of the old, each file in one move."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".new-") as folder:
            new = Path(folder)
            _save_untied(model, state, new)
            if (names := _tensor_names(new)) != self._names:
                odd = ", ".join(sorted(names ^ self._names)[:3])
                raise UsageError(f"weights: {self.directory} holds another model: {odd}")
            written = {path.name for path in new.glob(_WEIGHTS)}
            for name in sorted(written):
                (new / name).replace(self.directory / name)
        # Parts of a checkpoint that was cut into more files would be read beside the new ones.
        for path in self.directory.glob(_WEIGHTS):
            if path.name not in written:
                path.unlink()

    async def _reload_all(self) -> None:
        try:
            await asyncio.gather(*map(self._reload, self.urls))
        finally:
            await self._http.aclose()

    async def _reload(self, url: str) -> None:
        try:
            await self._post(f"{url}/collective_rpc", {"method": "reload_weights"})
            await self._forget_prefixes(url)
        except Refused as error:
            if error.status == 404:
                hint = "expected a vLLM server with VLLM_SERVER_DEV_MODE=1"
                raise InfrastructureError(f"{error}; {hint}") from None
            raise

    async def _forget_prefixes(self, url: str) -> None:
        """Drop the keys and values of the old weights. vLLM refuses while it still winds up
        requests that were cancelled at the end of the last rollout."""
        deadline = time.monotonic() + self._seconds
        while (await self._post(f"{url}/reset_prefix_cache")).get("success", True) is not True:
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{url}: its prefix cache stays in use")
            await asyncio.sleep(0.05)

    async def _post(self, url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        value = await self._http.request("POST", url, self._read, body=body)
        if not isinstance(value, dict):
            raise InfrastructureError(f"{url}: the answer is no JSON object")
        return value

    async def _read(self, response: httpx.Response) -> Any:
        return await self._http.read_json(response) if await response.aread() else {}


def prepare_served(model: Any, tokenizer: Any, directory: str | Path) -> None:
    """Write the folder that servers are started on: `model`, with its output head on its own.

    Why not `save_pretrained`: a head that is tied to the embeddings has no weights in the
    checkpoint, and vLLM on CPU, which keeps a packed copy of it, then reloads the embeddings and
    goes on with the old head, without a word.
    """
    path = Path(directory)
    _save_untied(model, model.state_dict(), path)
    tokenizer.save_pretrained(path)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = False
    (path / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _save_untied(model: Any, state: dict[str, Any], directory: Path) -> None:
    state = dict(state)
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is embeddings.weight:
        modules = {id(module): name for name, module in model.named_modules()}
        source = state[f"{modules[id(embeddings)]}.weight"]
        # A copy: tensors that share their memory are written once.
        state[f"{modules[id(head)]}.weight"] = source.detach().clone()
    with _quietly():
        model.save_pretrained(directory, state_dict=state)


def _check_served(directory: Path) -> set[str]:
    """Return the names of a folder's tensors. Raises `UsageError` unless it can be served from."""
    weights = list(directory.glob("*.safetensors"))
    if not weights or not (directory / "config.json").is_file():
        raise UsageError(f"weights: {str(directory)!r} is no checkpoint in safetensors")
    if any(path.is_symlink() for path in weights):
        # What a hub's cache looks like; other runs start from those files.
        raise UsageError(f"weights: {str(directory)!r} holds links; expected a copy of its own")
    if AutoConfig.from_pretrained(directory).tie_word_embeddings:
        raise UsageError(
            f"weights: {str(directory)!r} has its output head tied to the embeddings, which vLLM"
            " may not reload; expected a folder made by prepare_served"
        )
    return _tensor_names(directory)


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
