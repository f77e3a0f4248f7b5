"""The examples as modules, each imported once: what registers an environment does so once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    """Return `examples/<name>.py` as a module, found by its name from then on."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)
