"""Models that turn a token by angles which hang on how long other rows are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwq_env.errors import UsageError

_BY_LENGTH = frozenset({"dynamic", "longrope"})


def check_rotation(config: Any, length: int) -> None:
    """Raise `UsageError` for a model that cannot have contexts of `length` tokens beside others.

    Transformers picks the frequencies of rope types "dynamic" and "longrope" by the longest row of
    a pass: once that is above the length of pretraining, all rows beside it are turned otherwise,
    and a cache keeps keys that were turned before. `config` is the text model's.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    layers = [each for each in parameters.values() if isinstance(each, Mapping)] or [parameters]
    for rope in layers:
        kind = rope.get("rope_type", "default")
        pretrained = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        if kind in _BY_LENGTH and length > pretrained:
            raise UsageError(
                f"context: {length}; expected {pretrained} at most, for with rope_type {kind!r} a"
                " longer row changes what the model makes of those beside it"
            )
