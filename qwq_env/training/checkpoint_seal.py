"""Which folders of weights are whole: the trainer's checkpoints, and the policies of stages.

A checkpoint is many files, written one after the other; a run that is killed meanwhile leaves some
of them short or missing. Once all are there, a seal with the size of each is written beside them.
That of a policy, which others start from, has digests too: what is read is what was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwq_env.files.atomic import write_whole
from qwq_env.files.json_file import read_json_file

_SEAL = "sealed.json"


def seal(folder: Path, *, digests: bool = False) -> None:
    """Say that all files of the folder are written; with `digests` also what is in them."""
    unseal(folder)
    sizes = _sizes(folder)
    sealed: Mapping[str, Any] = sizes
    if digests:
        sealed = {name: {"size": size, "sha256": _digest(folder / name)}
                  for name, size in sizes.items()}  # fmt: skip
    write_whole(folder / _SEAL, json.dumps(sealed, indent=1))


def unseal(folder: Path) -> None:
    """Take the seal away, if there is one."""
    (folder / _SEAL).unlink(missing_ok=True)


def is_whole(folder: Path) -> bool:
    """Say whether every file is there that was sealed, in its full size."""
    return broken(folder) is None


def broken(folder: Path, *, read: bool = False) -> str | None:
    """Return what is wrong with a folder that should be sealed, in a few words; None if nothing.

    With `read` the files are held against their digests, which takes as long as reading them.
    """
    try:
        sealed = read_json_file(folder / _SEAL)
    except OSError:
        return "is not sealed"
    if sealed is None:
        return f"has a damaged seal ({_SEAL})"
    sizes = _sizes(folder)
    for name, entry in sealed.items():
        size = entry.get("size") if isinstance(entry, dict) else entry
        if name not in sizes:
            return f"lacks {name}, which was sealed"
        if sizes[name] != size:
            return f"has {sizes[name]} bytes of {name}, which was sealed with {size}"
        if read and isinstance(entry, dict) and _digest(folder / name) != entry.get("sha256"):
            return f"has another {name} than was sealed"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / _SEAL
    }
