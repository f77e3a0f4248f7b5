"""`python -m qwq_env.training.prepare CHECKPOINT FOLDER`: make the folder that servers start on.

A folder that is there already is left: a server that is started anew begins with the newest.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from qwq_env.rollout.checkpoint import load_checkpoint
from qwq_env.training.weights.disk import prepare_served


def main(checkpoint: str, folder: str) -> None:
    """Copy a checkpoint, with its output head on its own."""
    path = Path(folder)
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)  # what a kill left of it
        model, tokenizer = load_checkpoint(checkpoint)
        prepare_served(model, tokenizer, part)
        part.rename(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
