"""The shape of a decoder, read from a checkpoint's `config.json`, and what its weights come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief

_KINDS: Final[Mapping[str, tuple[bool, bool]]] = {
    # Whether queries, keys and values have a bias, and whether queries and keys are normed.
    "qwen2": (True, False),
    "qwen3": (False, True),
    "llama": (False, False),
    "mistral": (False, False),
}

LINEAR_LAYERS: Final = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
)  # fmt: skip
"""What Transformers calls the linear parts of a layer of these kinds, and of the tiny policy's."""

_KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "qwq-32b": {
        "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27_648,
        "num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8,
        "vocab_size": 152_064, "max_position_embeddings": 40_960,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True,
        "max_position_embeddings": 40_960,
    },
}  # fmt: skip
"""The configurations that the shipped recipes name, for planning where the checkpoint is not."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder of equal layers: attention with grouped heads, and a gated feed-forward part."""

    kind: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head: int
    vocabulary: int
    tied: bool
    positions: int | None = None

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Width of all keys of a token, which is that of its values."""
        return self.key_value_heads * self.head

    @property
    def parameters(self) -> int:
        """How many weights there are."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer."""
        biased, normed = _KINDS[self.kind]
        linear = sum(inputs * outputs for inputs, outputs in self.linear_layers)
        biases = self.queries + 2 * self.keys if biased else 0
        return linear + biases + 2 * self.hidden + (2 * self.head if normed else 0)

    @property
    def linear_layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of the linear parts of one layer."""
        feed_forward = (self.hidden, self.intermediate)
        return (
            (self.hidden, self.queries), (self.hidden, self.keys), (self.hidden, self.keys),
            (self.queries, self.hidden), feed_forward, feed_forward,
            (self.intermediate, self.hidden),
        )  # fmt: skip

    def lora_parameters(self, rank: int) -> int:
        """Weights of adapters of `rank` on every linear part of every layer."""
        return self.layers * rank * sum(map(sum, self.linear_layers))

    @property
    def cache_values(self) -> int:
        """Numbers that one token leaves in the cache of keys and values."""
        return 2 * self.layers * self.keys


def shape_of(checkpoint: str, config: Path | None = None) -> Shape:
    """Return a checkpoint's shape: from `config`, its folder, one that is known by its name, or the
    hub's cache on this machine. Nothing is asked of the hub.

    Raises `UsageError` for what cannot be read, and for an architecture whose memory differs.
    """
    known = _KNOWN.get(checkpoint.rstrip("/").rpartition("/")[2].lower())
    file = config if config is not None else Path(checkpoint) / "config.json"
    if config is None and not file.is_file() and known is None:
        file = _cached_config(checkpoint) or file
    if config is not None or file.is_file():
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"config: {str(file)!r} cannot be read: {error}") from None
        return read_shape(said, str(file))
    if known is None:
        raise UsageError(
            f"policy.checkpoint: {brief(checkpoint)} is no folder with a config.json here, not in"
            f" the hub's cache, and none of {', '.join(_KNOWN)}; expected qwq plan --config FILE"
        )
    return read_shape(known, checkpoint)


def _cached_config(checkpoint: str) -> Path | None:
    """Return the config.json of a model of the hub that lies in its cache, None if none does."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - takes its time

    try:
        found = try_to_load_from_cache(checkpoint, "config.json")
    except ValueError:
        return None  # no name that the hub could know: a path, for example
    return Path(found) if isinstance(found, str) else None


def read_shape(said: Any, named: str) -> Shape:
    """Return the shape that a `config.json` describes. Raises `UsageError`."""
    if not isinstance(said, dict):
        raise UsageError(f"config: {named}: {brief(said)}; expected an object")
    kind = said.get("model_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UsageError(
            f"config: {named}: model_type {brief(kind)}; the plan knows {', '.join(_KINDS)}"
        )

    def number(name: str) -> int:
        value = said.get(name)
        if type(value) is not int or value < 1:
            raise UsageError(f"config: {named}: {name}: {brief(value)}; expected a whole number")
        return value

    heads = number("num_attention_heads")
    hidden = number("hidden_size")
    return Shape(
        kind,
        hidden,
        number("intermediate_size"),
        number("num_hidden_layers"),
        heads,
        number("num_key_value_heads"),
        number("head_dim") if said.get("head_dim") is not None else hidden // heads,
        number("vocab_size"),
        said.get("tie_word_embeddings") is True,
        number("max_position_embeddings") if "max_position_embeddings" in said else None,
    )
