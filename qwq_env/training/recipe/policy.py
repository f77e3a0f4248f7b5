"""A recipe's sections `policy` and `policy.lora`: what is trained, and who samples."""

# ruff: noqa: RUF009 - key() is dataclasses.field with a line of what the key is

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwq_env.errors import UsageError
from qwq_env.training.recipe.key import key


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """Adapters of low rank are trained, and the weights stay as they are."""

    rank: int = key(64, "rank of an adapter", positive=True)
    alpha: int = key(64, "an adapter's output is scaled by alpha / rank", positive=True)
    dropout: float = key(0.0, "of an adapter's input, in training", most=0.99)
    targets: list[str] | None = key(None, "names of layers; null: all linear ones but the head")

    def __post_init__(self) -> None:
        if self.targets is not None and not self.targets:
            raise UsageError("policy.lora.targets: none; expected names of layers, or null for all")


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy: `tiny` is built from nothing; any other value is a checkpoint's folder or id.

    `sampler` plays the episodes of training: the model itself, or vLLM `servers` (addresses; a key
    for them is read from `VLLM_API_KEY`). `weights` says how the trained ones reach them: "disk"
    writes them over the folder `served` that they were started on (`prepare_served` makes it),
    "adapter" writes versions of the adapter below `served`, "nccl" is TRL's own connection to one
    server. Evaluation is by the model itself, or by the servers if the model is sharded.
    """

    checkpoint: str = key("tiny", "tiny, or a checkpoint's folder or id")
    hidden: int = key(64, "width of the tiny policy", positive=True)
    layers: int = key(2, "layers of the tiny policy", positive=True)
    heads: int = key(4, "attention heads of the tiny policy", positive=True)
    key_value_heads: int = key(2, "heads of the tiny policy's keys and values", positive=True)
    vocabulary: Literal["phrases", "words"] = key(
        "phrases", "tokens of the tiny policy: what never varies in its lessons, or their words"
    )
    sampler: Literal["transformers", "vllm"] = key("transformers", "who plays the episodes")
    servers: list[str] = key(list, "addresses of vLLM; qwq launch fills them in")
    served: str | None = key(None, "the folder, seen by all, through which weights travel")
    weights: Literal["disk", "adapter", "nccl"] = key("disk", "how weights reach the servers")
    seeded: bool = key(
        False, "servers get a seed with each turn: what is resumed draws it again; vLLM is slower"
    )
    dtype: Literal["auto", "fast", "float32", "bfloat16"] = key(
        "auto",
        "what is computed in; auto: bfloat16 on a GPU, float32 on a CPU; fast: on a CPU, too,"
        " bfloat16 if it has instructions for it",
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] = key("sdpa", "attention kernel")
    sampling_dtype: Literal["same", "computed"] = key(
        "same", "of weights that sample here; computed: a copy in what is computed in, if another"
    )
    lora: LoraRecipe | None = key(None, "adapters; null: all weights are trained")

    def __post_init__(self) -> None:
        # Positions are rotated in pairs of dimensions, so a head has an even number of them.
        if self.hidden % (2 * self.heads):
            raise UsageError(
                f"policy.hidden: {self.hidden}; expected a multiple of twice policy.heads"
                f" ({self.heads})"
            )
        if self.heads % self.key_value_heads:
            raise UsageError(
                f"policy.heads: {self.heads}; expected a multiple of policy.key_value_heads"
                f" ({self.key_value_heads})"
            )
        if self.sampling_dtype != "same" and (self.lora is not None or self.sampler == "vllm"):
            raise UsageError(
                f"policy.sampling_dtype: {self.sampling_dtype!r}; expected 'same' with policy.lora"
                " or policy.sampler=vllm"
            )
        if self.sampler == "transformers":
            for name in ("servers", "served", "seeded"):
                if getattr(self, name) not in (None, False, []):
                    raise UsageError(f"policy.{name}: expected policy.sampler=vllm, which uses it")
            if self.attention == "flash_attention_2":
                raise UsageError(
                    "policy.attention: 'flash_attention_2'; expected sdpa or eager where the model"
                    " itself samples, or policy.sampler=vllm"
                )
            return
        if self.weights != "nccl" and self.served is None:
            raise UsageError(
                "policy.sampler: 'vllm' needs policy.servers and policy.served, the folder through"
                f" which weights travel (policy.weights={self.weights})"
            )
        if (self.weights == "adapter") != (self.lora is not None):
            raise UsageError(
                f"policy.weights: {self.weights!r}; expected 'adapter' with policy.lora, and only"
                " then: servers take adapters, or whole weights"
            )
        if self.weights == "nccl" and len(self.servers) > 1:
            raise UsageError(
                f"policy.servers: {len(self.servers)}; expected one, for TRL's NCCL connection has"
                " one address (more engines: cluster.data_parallel)"
            )
