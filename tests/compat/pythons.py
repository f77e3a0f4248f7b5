"""Where this machine has a Python of a given version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


def find_python(version: str) -> str | None:
    """Return a command for Python `version`, such as "3.12"; `None` where there is none.

    Looks at the one that runs this, at every folder of PATH (a shim of the same name may be found
    first and not run), and asks pyenv and uv for theirs.
    """
    name = f"python{version}"
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [sys.executable, *(str(Path(folder) / name) for folder in folders)]
    if prefix := _said("pyenv", "prefix", version):
        found.append(str(Path(prefix) / "bin" / name))
    if at := _said("uv", "python", "find", "--offline", version):
        found.append(at)
    return next((python for python in found if _said(python, "-c", _ASK) == version), None)


def _said(command: str, *arguments: str) -> str:
    """Return what a command printed, nothing if it is not there or fails."""
    if shutil.which(command) is None:
        return ""
    ended = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""
