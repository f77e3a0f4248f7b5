"""Environments of their own for the checkers that we are compared with."""

import os
import subprocess
import sys
import venv
from pathlib import Path


def environment(name: str, *installs: list[str]) -> Path:
    """The interpreter of the environment `name`, made on first use with `pip install` per list.

    It lives in the user's cache directory and is used again; a half-made one is made anew.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    directory = cache / "qwq-env" / "official" / name
    python = directory / "bin" / "python"
    done = directory / "complete"
    if not done.is_file():
        print(f"making {directory} ...", file=sys.stderr)
        venv.create(directory, with_pip=True, clear=True)
        for packages in installs:
            command = [str(python), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(command, check=True, stdout=sys.stderr)
        done.touch()
    return python


def ask(python: Path, script: str, lines: str, *arguments: str) -> str:
    """What `script` (beside this file), run by `python`, writes when it reads `lines`."""
    command = [str(python), str(Path(__file__).with_name(script)), *arguments]
    # PYTHONPATH would mix our packages into theirs.
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, input=lines, text=True, check=True, stdout=subprocess.PIPE, env=variables
    )
    return done.stdout
