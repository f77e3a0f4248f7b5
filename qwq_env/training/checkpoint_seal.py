"""Which of the trainer's checkpoints are whole.

A checkpoint is many files, written one after the other; a run that is killed meanwhile leaves some
of them short or missing. Once all are there, a seal with the size of each is written beside them.
"""

from __future__ import annotations

import json
from pathlib import Path

from qwq_env.files.atomic import write_whole

_SEAL = "sealed.json"


def seal(checkpoint: Path) -> None:
    """Say that all files of the folder are written."""
    unseal(checkpoint)
    write_whole(checkpoint / _SEAL, json.dumps(_sizes(checkpoint), indent=1))


def unseal(checkpoint: Path) -> None:
    """Take the seal away, if there is one."""
    (checkpoint / _SEAL).unlink(missing_ok=True)


def is_whole(checkpoint: Path) -> bool:
    """Say whether every file is there that was sealed, in its full size."""
    try:
        sealed = json.loads((checkpoint / _SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    sizes = _sizes(checkpoint)
    return isinstance(sealed, dict) and all(
        sizes.get(name) == size for name, size in sealed.items()
    )


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / _SEAL
    }
