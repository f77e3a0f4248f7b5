"""Peers as processes that are asked: as many workers as give each its highest rate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PATIENCE: Final = 180.0

PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "gem": ("gem-llm==0.1.0",),
    "skyrl_gym": ("skyrl-gym==0.4.0",),
    "ipykernel": ("ipykernel", "jupyter_client"),
    "smolagents": ("smolagents",),
}
"""peer → what pip installs for it, and sympy; the others run with this interpreter."""


class PeerFailed(Exception):
    """The peer could not be installed, or did not answer; says why in a line."""


def interpreter(name: str) -> str:
    """Return the interpreter of a peer's environment, which is made the first time."""
    packages = PACKAGES.get(name)
    if packages is None:
        return sys.executable
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "qwq-env" / "bench" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        pinned = ["-c", str(HERE.parent / "constraints.txt")]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "-q", *pinned, *packages, "sympy"]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()
            raise PeerFailed(said.splitlines()[-1][:300] if said else "no reason given") from error
        (folder / "ready").touch()
    return str(python)


class Workers:
    """So many workers of one side; `run` gives each its share of the programs."""

    def __init__(self, side: str, count: int, python: str, arguments: Sequence[str] = ()) -> None:
        command = [python, str(HERE / "_sandbox_peers.py"), side, *arguments]
        self.count = count
        # GEM runs the `python` of the path, in folders that it makes where it is.
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=self._folder.name,
                env={**os.environ, "PATH": path},
            )
            for _ in range(count)
        ]
        for process in self._processes:
            if self._line(process) != "ready\n":
                self.close()
                raise PeerFailed(f"{side}: a worker did not start")

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        deadline = threading.Timer(PATIENCE, process.kill)
        deadline.start()
        try:
            return process.stdout.readline()
        finally:
            deadline.cancel()

    def run(self, programs: Sequence[str], printed: Sequence[str]) -> float:
        """Return programs per second; raises `PeerFailed` where one did not print what it must."""
        shares = [list(range(start, len(programs), self.count)) for start in range(self.count)]
        began = time.perf_counter()
        for process, share in zip(self._processes, shares, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps([programs[i] for i in share]) + "\n")
            process.stdin.flush()
        lines = [self._line(process) for process in self._processes]
        seconds = time.perf_counter() - began
        for line, share in zip(lines, shares, strict=True):
            if not line:
                raise PeerFailed("a worker ended in the middle")
            for i, output in zip(share, json.loads(line), strict=True):
                if printed[i].strip() not in output:
                    raise PeerFailed(f"printed {output[:80]!r} for {programs[i]!r:.200}")
        return len(programs) / seconds

    def outputs(self, programs: Sequence[str]) -> list[str]:
        """Return what each program prints; for one worker."""
        (process,) = self._processes
        assert process.stdin is not None
        process.stdin.write(json.dumps(list(programs)) + "\n")
        process.stdin.flush()
        found: list[str] = json.loads(self._line(process))
        return found

    def close(self) -> None:
        """End the workers, and what they have started."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._folder.cleanup()


def best_count(side: str, programs: Sequence[str], printed: Sequence[str]) -> int:
    """Return how many workers give a side its highest rate on these programs."""
    cores = len(os.sched_getaffinity(0))
    rates = {}
    for count in (1, cores, 2 * cores):
        workers = start(side, count)
        try:
            rates[count] = max(workers.run(programs, printed) for _ in range(2))
        finally:
            workers.close()
    return max(rates, key=rates.__getitem__)


def start(side: str, count: int, arguments: Sequence[str] = ()) -> Workers:
    """Start workers of a side, in its environment."""
    return Workers(side, count, interpreter(side.removesuffix("_session")), arguments)
