"""Whether a checkpoint's folder is whole, told by its files alone: nothing of it is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from qwq_env.errors import UsageError, brief
from qwq_env.files.json_file import read_json_file

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer_config.json")
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_INDICES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def check_checkpoint(path: str, *, field: str = "policy.checkpoint") -> None:
    """Raise `UsageError`, which names `field`, for a folder that is no whole checkpoint, and for
    what is neither a folder nor a name that the hub could know."""
    folder = Path(path)
    if not path or not folder.is_dir():
        if path and folder.exists():
            raise UsageError(f"{field}: {brief(path)} is a file; expected a checkpoint's folder")
        if _HUB_NAME.fullmatch(path) is None:
            raise UsageError(
                f"{field}: {brief(path)} is no folder; expected a checkpoint's, or a model of the"
                " hub's, owner/name"
            )
        return
    lacks = _lacks(folder)
    if lacks is not None:
        raise UsageError(f"{field}: {brief(path)} is no whole checkpoint: {lacks}")


def layers_of(folder: Path) -> int | None:
    """Return how many layers a checkpoint's config says it has, None if it does not say."""
    layers = (_read(folder / "config.json") or {}).get("num_hidden_layers")
    return layers if type(layers) is int else None


def _lacks(folder: Path) -> str | None:
    """Return what is missing or damaged, in a few words; None if nothing is."""
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        return f"it has no {_TOKENIZERS[0]}"
    if (folder / "adapter_config.json").is_file():
        return None  # an adapter's: its config names the weights below it
    if _read(folder / "config.json") is None:
        exists = (folder / "config.json").is_file()
        return "its config.json is no JSON object" if exists else "it has no config.json"
    if any((folder / name).is_file() for name in _WEIGHTS):
        return None
    index = next((folder / name for name in _INDICES if (folder / name).is_file()), None)
    if index is None:
        return f"it has no weights ({_WEIGHTS[0]}, or {_INDICES[0]} and its parts)"
    said = _read(index)
    parts = said.get("weight_map") if said is not None else None
    if not isinstance(parts, dict):
        return f"its {index.name} has no weight_map"
    missing = sorted({str(name) for name in parts.values() if not (folder / str(name)).is_file()})
    return f"{len(missing)} of its parts are missing, {missing[0]} first" if missing else None


def _read(file: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds, None if it cannot be read."""
    try:
        return read_json_file(file)
    except OSError:
        return None
