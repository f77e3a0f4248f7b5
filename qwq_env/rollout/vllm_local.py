"""Start a real vLLM server on this machine's CPU: for tests, benchmarks, and trying things out.

vLLM's packages do not live beside TRL's, so it has a virtual environment of its own; `make test`
makes one in `.venv-vllm`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qwq_env.errors import InfrastructureError, UsageError

_LOG_SHOWN = 3000
_POLL_SECONDS = 0.5
_SEEDED_BATCH = 8192
_MODULE = "vllm.entrypoints.openai.api_server"
# The command `vllm` itself asks for package metadata that the CPU build does not have. The thread
# ends the whole session when our end of its input closes: also when we are killed.
_PROGRAM = f"""
import os, runpy, signal, sys, threading
def watch():
    while os.read(0, 1): pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module({_MODULE!r}, run_name="__main__", alter_sys=True)
"""
_PORTS = (20_000, 30_000)


@contextmanager
def serve_on_cpu(
    directory: str | Path,
    python: str | Path,
    *,
    context: int = 1024,
    seeds: bool = False,
    seconds: float = 600.0,
) -> Iterator[str]:
    """Serve the checkpoint in `directory` as the model `policy`; gives the server's address.

    `python` is the interpreter that has vLLM. The server computes in fp32, returns the processed
    log-probabilities, and is in development mode, so that `DiskWeightSync` can reach it. It
    listens on this machine only, and is gone at the end with every process it started. vLLM on
    CPU needs heads of 32 dimensions or more.

    With `seeds`, requests may carry one: no prompt is read in parts then, for a CPU's generator
    cannot be wound back as vLLM does after a part, and the engine would die of it.

    Raises `InfrastructureError` with the end of its log if it is not ready within `seconds`; a
    cold start takes minutes.
    """
    if not Path(python).exists():
        raise UsageError(f"vllm python: {str(python)!r} does not exist; `make test` makes one")
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            _command(directory, python, port, context, seeds),
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not _ready(server, url, str(directory), seconds):
                log.seek(0)
                tail = log.read().decode(errors="replace")[-_LOG_SHOWN:]
                raise InfrastructureError(f"vllm did not start; the end of its log:\n{tail}")
            yield url
        finally:
            _stop(server)


def _command(
    directory: str | Path, python: str | Path, port: int, context: int, seeds: bool
) -> list[str]:
    options = {
        "model": str(directory),
        "served-model-name": "policy",
        "host": "127.0.0.1",
        "port": str(port),
        "dtype": "float32",
        "max-model-len": str(context),
        "logprobs-mode": "processed_logprobs",
    }
    whole = ["--no-enable-chunked-prefill"] if seeds else []
    if seeds:
        # A prompt that is read whole must fit into one step.
        options["max-num-batched-tokens"] = str(max(context, _SEEDED_BATCH))
    named = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [str(python), "-c", _PROGRAM, "--enforce-eager", *whole, *named]


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        # More threads than idle cores make it many times slower.
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    """Return a port that nobody listens on, and that the system gives to nobody of itself: the
    server takes it many seconds later."""
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _ready(server: subprocess.Popen[bytes], url: str, directory: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
                # Whoever else took the port meanwhile does not serve this folder.
                return bool(json.load(answer)["data"][0]["root"] == directory)
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        pass
    try:
        # The engine is a process of its own, in the same session.
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    server.wait()
    assert server.stdin is not None
    server.stdin.close()
