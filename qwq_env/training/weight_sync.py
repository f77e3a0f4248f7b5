"""How the trainer's weights reach the servers that sample for it.

With GPUs on both sides, TRL does it itself, over NCCL (`GRPOConfig(use_vllm=True,
vllm_mode="server")`, the server started with `--weight-transfer-config '{"backend":"nccl"}'`): it
pushes before each rollout whose step is new, and nothing of this file is needed. Where NCCL does
not run, on CPU or across machines that share no more than a file system, `DiskWeightSync` does it:

```python
rollouts = Rollouts(
    "qwq/MathTool-v0", tokenizer,
    policy=lambda trainer: VllmPolicy(urls),
    weights=DiskWeightSync("served", urls),
)
```
"""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from accelerate.utils import broadcast_object_list
from transformers.utils import logging as transformers_logging

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.vllm_policy import authorization, server_urls

_SHOWN = 500


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

    `directory` is that folder, a copy made for this purpose: its safetensors are overwritten at
    every step, so that a server that is started anew begins with the newest. All servers at
    `urls` see it under the same path, and run with `VLLM_SERVER_DEV_MODE=1`, which opens the
    routes that this needs; keep them off public networks. Takes as long as writing and reading
    the whole model. Adapters (PEFT) are refused: merge them first.
    """

    def __init__(
        self,
        directory: str | Path,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
    ) -> None:
        """`seconds` bounds the wait for one server. Raises `UsageError` for a bad folder."""
        self.directory = Path(directory)
        self.urls = server_urls(urls)
        self._headers = authorization(api_key)
        self._seconds = seconds
        weights = list(self.directory.glob("*.safetensors"))
        if not weights or not (self.directory / "config.json").is_file():
            raise UsageError(f"weights: {str(directory)!r} is no checkpoint in safetensors")
        if any(path.is_symlink() for path in weights):
            # What a hub's cache looks like; other runs start from those files.
            raise UsageError(f"weights: {str(directory)!r} holds links; expected a copy of its own")

    def __repr__(self) -> str:
        return f"DiskWeightSync({str(self.directory)!r}, {list(self.urls)!r})"

    def push(self, trainer: Any) -> None:
        """Write and reload; rank 0 does it, the others wait for how it went."""
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        if hasattr(model, "peft_config"):
            raise UsageError("weights: the model has adapters; expected one without (merge them)")
        # Sharded weights are gathered here, so every rank takes part.
        state = accelerator.get_state_dict(trainer.model_wrapped)
        failure: list[str | None] = [None]
        if accelerator.is_main_process:
            try:
                self._write(model, state)
                self._reload_all()
            except (InfrastructureError, OSError) as error:
                # Told to all ranks: alone, this one would leave the others waiting for it.
                failure = [f"{type(error).__name__}: {error}"]
        broadcast_object_list(failure)
        if failure[0] is not None:
            raise InfrastructureError(f"weights: {failure[0]}")

    def _write(self, model: Any, state: dict[str, Any]) -> None:
        """Put the new weights in the place of the old, each file in one move."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=".new-") as new, _quietly():
            model.save_pretrained(new, state_dict=state)
            written = sorted(Path(new).glob("model*.safetensors*"))
            for path in written:
                path.replace(self.directory / path.name)
        names = {path.name for path in written}
        # Parts of a checkpoint that was cut into more files would be read beside the new ones.
        for path in self.directory.glob("*.safetensors*"):
            if path.name not in names:
                path.unlink()

    def _reload_all(self) -> None:
        with ThreadPoolExecutor(len(self.urls)) as threads:
            for _ in threads.map(self._reload, self.urls):
                pass

    def _reload(self, url: str) -> None:
        try:
            with httpx.Client(
                base_url=url, headers=self._headers, timeout=self._seconds, trust_env=False
            ) as client:
                _post(client, "/collective_rpc", {"method": "reload_weights"})
                self._forget_prefixes(client)
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{url}: {type(error).__name__}: {error}") from None

    def _forget_prefixes(self, client: httpx.Client) -> None:
        """Drop the keys and values of the old weights. vLLM refuses while it still winds up
        requests that were cancelled at the end of the last rollout."""
        deadline = time.monotonic() + self._seconds
        while _post(client, "/reset_prefix_cache").get("success", True) is not True:
            if time.monotonic() > deadline:
                raise InfrastructureError(f"{client.base_url}: its prefix cache stays in use")
            time.sleep(0.05)


def _post(client: httpx.Client, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    answer = client.post(path, json=body)
    if answer.status_code == 404:
        hint = "expected a vLLM server with VLLM_SERVER_DEV_MODE=1"
        raise InfrastructureError(f"{answer.url}: no such route; {hint}")
    if answer.status_code != 200:
        words = " ".join(answer.text.split())[:_SHOWN]
        raise InfrastructureError(f"{answer.url}: status {answer.status_code}: {words}")
    if not answer.content:
        return {}
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InfrastructureError(f"{answer.url}: the answer is no JSON object")
    return value


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
