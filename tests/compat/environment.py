"""An environment of its own for each set of versions; made once, and anew when out of date."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.requirements import Requirement

from .pythons import find_python
from .requirements import EXTRAS, at_their_lowest, declared, pinned, wanted

SHOWN = (
    "gymnasium", "numpy", "jsonschema", "httpx", "h11", "torch", "transformers", "tokenizers",
    "trl", "accelerate", "datasets", "pyyaml", "aiohttp", "rich", "matplotlib", "psutil",
    "math-verify", "sympy", "langdetect", "tantivy",
)  # fmt: skip

CORE_ONLY = "without torch: for this Python there is none without CUDA"


class NotMade(Exception):
    """The environment could not be had; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One set of versions: a Python, and the newest of each library or the oldest."""

    name: str
    version: str
    lowest: bool
    root: Path

    @property
    def folder(self) -> Path:
        """The virtual environment."""
        return self.root / f".venv-compat-{self.name}"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def torch(self) -> bool:
        """Whether it has torch; known once it is made."""
        return "torch" in self.versions

    @cached_property
    def versions(self) -> dict[str, str]:
        """What is installed in it, by name; "python" too."""
        asked = [self.python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
        listed = json.loads(_run(asked))
        version = _run([self.python, "-c", "import platform; print(platform.python_version())"])
        found = {each["name"].lower().replace("_", "-"): each["version"] for each in listed}
        return {"python": version.strip(), **found}

    def make(self) -> None:
        """Make it unless it is there already. Raises `NotMade`."""
        base = find_python(self.version)
        if base is None:
            raise NotMade(f"no python{self.version} on PATH, with pyenv or with uv")
        ready, stamp = self.folder / ".ready", self._stamp(base)
        if ready.exists() and ready.read_text() == stamp:
            return
        print(f"{self.name}: making {self.folder.name} ...", flush=True)
        _run([base, "-m", "venv", "--clear", str(self.folder)])
        self._pip("install", "--upgrade", "pip", "setuptools>=77")
        torch = self._torch()
        constraints = self.folder / "constraints.txt"
        lines = at_their_lowest(declared(self.root, *EXTRAS)) if self.lowest else []
        lines = [line for line in lines if not line.startswith("torch==")]
        constraints.write_text("\n".join([*lines, *([torch] if torch else []), ""]))
        needed = wanted(self.root, torch=torch is not None)
        # Byte code is made of what is imported, which is a small part.
        self._pip("install", "--no-compile", "--constraint", str(constraints), *needed)
        self._pip("install", "--no-deps", pinned(self.root, "dashscope"))  # Qwen's vocabulary
        ready.write_text(stamp)

    def _stamp(self, base: str) -> str:
        """What it is made from; when that changes, it is made anew."""
        parts = [base, os.environ.get("PIP_ARGS", "")]
        parts += [(self.root / each).read_text() for each in ("pyproject.toml", "constraints.txt")]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _torch(self) -> str | None:
        """Return a requirement for a torch that brings no CUDA (gigabytes, of no use here).

        That which is asked for, or else the one that `constraints.txt` names, or none.
        """
        asked = next(each for each in declared(self.root, "train") if each.name == "torch")
        first = at_their_lowest([asked])[0] if self.lowest else str(asked)
        candidates = (first, pinned(self.root, "torch"))
        return next((each for each in candidates if self._light(each)), None)

    def _light(self, torch: str) -> bool:
        report = self._pip(
            "install", "--quiet", "--dry-run", "--no-deps", "--report=-", torch, check=False
        )
        if not report:
            return False
        [chosen] = json.loads(report)["install"]
        needs = map(Requirement, chosen["metadata"].get("requires_dist", []))
        here = [each.name for each in needs if not each.marker or each.marker.evaluate()]
        return not any(name.startswith(("nvidia-", "cuda-")) for name in here)

    def _pip(self, verb: str, *arguments: str, check: bool = True) -> str:
        more = shlex.split(os.environ.get("PIP_ARGS", ""))
        return _run([self.python, "-m", "pip", verb, *more, *arguments], cwd=self.root, check=check)


def _run(command: list[str], cwd: Path | None = None, *, check: bool = True) -> str:
    """Return what a command printed; `NotMade`, with its last lines, if it failed."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        if check:
            raise NotMade("\n".join((ended.stdout + ended.stderr).splitlines()[-12:]))
        return ""
    return ended.stdout
