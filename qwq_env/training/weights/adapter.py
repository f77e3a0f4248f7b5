"""A LoRA adapter on its way to vLLM servers: one gigabyte where the weights of 32B are 65.

The servers hold the base model, as it is trained on, and take adapters:

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True VLLM_SERVER_DEV_MODE=1 \\
        vllm serve MODEL --enable-lora --max-lora-rank RANK --logprobs-mode processed_logprobs

```python
rollouts = Rollouts(
    "qwq/MathTool-v0", tokenizer,
    policy=lambda trainer: VllmPolicy(urls, adapter=ADAPTER),
    weights=AdapterWeightSync("adapters", urls),
)
trainer = GRPOTrainer(model, ..., peft_config=LoraConfig(...))
```

PEFT is imported only to merge one: whoever trains an adapter has it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from qwq_env import portal
from qwq_env.errors import UsageError
from qwq_env.training.weights.base import Pushed, WeightSync, on_first_rank
from qwq_env.training.weights.servers import Update, WeightServers
from qwq_env.training.weights.shares import whole_of
from qwq_env.training.weights.versions import keep_newest, size_of, version_at, write_version

ADAPTER: Final = "adapter"
"""The name that servers know the newest version by; requests must ask for it."""


class AdapterWeightSync(WeightSync):
    """Writes each version of the adapter that is trained to `directory/v000123`, keeps the one
    before, and has the servers at `urls` load it in the place of the one they have.

    `directory` is made if it is not there; all servers see it under the same path. A server that
    was started anew knows no adapter; a `VllmPolicy(adapter=...)` passes it over until the next
    push, which brings it the newest.
    """

    def __init__(
        self,
        directory: str | Path,
        urls: str | Sequence[str],
        *,
        name: str = ADAPTER,
        min_servers: int = 1,
        api_key: str | None = None,
        seconds: float = 600.0,
    ) -> None:
        """`name` is what requests ask for; it must not be that of the base model, which vLLM
        would sample from then. For the others see `DiskWeightSync`."""
        self.directory = Path(directory)
        self.name = name
        self._servers = WeightServers(urls, api_key=api_key, seconds=seconds, least=min_servers)

    def __repr__(self) -> str:
        return f"AdapterWeightSync({str(self.directory)!r}, {list(self.urls)!r})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers' addresses."""
        return self._servers.urls

    def push(self, trainer: Any) -> Pushed:
        """Write and load; rank 0 does it, the others wait for how it went.

        Raises `UsageError` for a model without a LoRA adapter, and `InfrastructureError`, of the
        same text on every rank, for whatever went wrong.
        """
        began = time.perf_counter()
        accelerator = trainer.accelerator
        model = accelerator.unwrap_model(trainer.model)
        active = _active_adapter(model)
        # Sharded weights are gathered here, so every rank takes part.
        state = trained_state(model, keep=accelerator.is_main_process)
        version = int(trainer.state.global_step)

        def write(folder: Path) -> None:
            save_adapter(model, state, folder, name=active)

        def write_and_tell() -> Pushed:
            folder = write_version(self.directory, version, write)
            servers = self._tell(folder)
            keep_newest(self.directory, folder)
            return Pushed(version, time.perf_counter() - began, size_of(folder), servers)

        return on_first_rank(accelerator, write_and_tell)

    def bring(self, version: int) -> tuple[str, ...]:
        """Let servers have a version that was pushed before; see `WeightSync`."""
        return self._tell(version_at(self.directory, version))

    def _tell(self, version: Path) -> tuple[str, ...]:
        # PEFT writes one that is not called "default" into a folder of its name.
        found = next(version.rglob("adapter_config.json"), None)
        folder = version if found is None else found.parent
        # Not by `load_inplace`: vLLM keeps that with the adapter, and reads it from the disk again
        # in each step of the engine (LRUCacheWorkerLoRAManager.add_adapter, 0.32).
        update = Update(
            "/v1/load_lora_adapter",
            {"lora_name": self.name, "lora_path": str(folder.resolve())},
            "expected vLLM with --enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and"
            " VLLM_SERVER_DEV_MODE=1",
            removal=("/v1/unload_lora_adapter", {"lora_name": self.name}),
        )
        return portal.run(self._servers.update(lambda url: update))


def save_adapter(
    model: Any, state: Mapping[str, torch.Tensor], folder: Path, *, name: str = "default"
) -> None:
    """Write the adapter of that name: the one that is trained, not what `beta` compares it with."""
    # The embeddings are the base model's; left to itself, PEFT asks a hub about them.
    model.save_pretrained(
        folder, state_dict=state, selected_adapters=[name], save_embedding_layers=False
    )


def merge_adapter(base: str, adapter: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write the checkpoint `base`, which the adapter was trained on, with the adapter's weights
    added in: a policy that stands alone.

    It is done on the CPU from what lies on disk, for no process may have the whole model.
    """
    # Whoever has an adapter has it.
    import peft  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - heavy

    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    merged = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.save_pretrained(folder)


def trained_state(model: Any, *, keep: bool = True) -> dict[str, torch.Tensor]:
    """Return the weights that are trained, whole and on the CPU; collective where they are sharded.

    The frozen ones, a hundred times as many below an adapter, stay where they are. A rank that
    does not `keep` them takes part in the gathering and gets nothing.
    """
    state = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            whole = whole_of(weight)
            if keep:
                state[name] = whole.detach().to("cpu", copy=True)
    return state


def _active_adapter(model: Any) -> str:
    """Return the name of the one adapter that is trained. Raises `UsageError` if it is not LoRA."""
    known = getattr(model, "peft_config", None)
    if not known:
        raise UsageError(
            "weights: the model has no adapter; expected one with LoRA"
            " (pip install peft, and GRPOTrainer(peft_config=LoraConfig(...)))"
        )
    active = getattr(model, "active_adapter", None)
    name = active if isinstance(active, str) else next(iter(known))
    kind = str(getattr(known[name].peft_type, "value", known[name].peft_type))
    if kind != "LORA":
        raise UsageError(f"weights: adapter {name!r} is {kind}; expected LORA, which vLLM serves")
    return name
