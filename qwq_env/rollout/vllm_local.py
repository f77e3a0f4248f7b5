"""Start real vLLM servers on this machine's CPU: for tests, benchmarks, and trying things out.

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from qwq_env.errors import InfrastructureError, UsageError

_LOG_SHOWN = 3000
_POLL_SECONDS = 0.1
_SEEDED_BATCH, _BATCH = 8192, 512
"""Tokens of prompts that a server reads in one step. It reads as many once before it is ready, and
on a CPU larger steps are no faster."""
_PORTS = (20_000, 30_000)


@contextmanager
def serve_on_cpu(
    directory: str | Path, python: str | Path, *, context: int = 1024
) -> Iterator[str]:
    """Serve the checkpoint in `directory`, as `CpuServers.serve` does; gives the server's address.

    `python` is the interpreter that has vLLM.
    """
    with cpu_servers(python) as servers, servers.serve(directory, context=context) as url:
        yield url


@contextmanager
def cpu_servers(python: str | Path) -> Iterator[CpuServers]:
    """Gives what starts several servers, the second in a fraction of the first one's time.

    Importing vLLM is most of a start. One process does it, from now on and in the background; all
    servers are forked from it. `python` is the interpreter that has vLLM.
    """
    if not Path(python).exists():
        raise UsageError(f"vllm python: {str(python)!r} does not exist; `make test` makes one")
    program = Path(__file__).with_name("vllm_fork.py").read_text(encoding="utf-8")
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as log:
        with theirs:
            process = subprocess.Popen(
                [str(python), "-c", program],
                env=_environment(),
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield CpuServers(ours, log)
        finally:
            process.kill()
            process.wait()


class CpuServers:
    """Starts servers; made by `cpu_servers`."""

    def __init__(self, control: socket.socket, log: IO[bytes]) -> None:
        self._control = control
        self._log = log

    @contextmanager
    def serve(
        self,
        directory: str | Path,
        *,
        context: int = 1024,
        seeds: bool = False,
        lora_rank: int | None = None,
        dtype: str = "float32",
        seconds: float = 600.0,
    ) -> Iterator[str]:
        """Serve the checkpoint in `directory` as the model `policy`; gives the server's address.

        The server computes in `dtype`, returns the processed log-probabilities, and is in
        development mode, so that `DiskWeightSync` can reach it. It listens on this machine only,
        and is gone at the end with every process it started; also if we are killed. vLLM on CPU
        needs heads of 32 dimensions or more.

        With `seeds`, requests may carry one: no prompt is read in parts then, for a CPU's generator
        cannot be wound back as vLLM does after a part, and the engine would die of it.

        With a `lora_rank` (8, 16, 32 and so on) it takes adapters up to that rank while it runs,
        as `AdapterWeightSync` brings them.

        Raises `InfrastructureError` with the end of its log if it is not ready within `seconds`; a
        cold start takes up to a minute.
        """
        deadline = time.monotonic() + seconds
        port = _free_port()
        life, ours = os.pipe()
        with tempfile.TemporaryFile() as log, os.fdopen(ours, "wb", 0):
            with os.fdopen(life, "rb", 0):
                arguments = _arguments(directory, port, context, seeds, lora_rank, dtype)
                process = self._fork(arguments, log, life, deadline)
            try:
                url = f"http://127.0.0.1:{port}"
                if not _ready(process, url, str(directory), deadline):
                    raise _not_started(log)
                yield url
            finally:
                _stop(process)

    def _fork(self, arguments: list[str], log: IO[bytes], life: int, deadline: float) -> int:
        """Return the process id of a server that begins to start, once vLLM is imported."""
        try:
            self._control.settimeout(max(0.0, deadline - time.monotonic()))
            socket.send_fds(self._control, [json.dumps(arguments).encode()], [log.fileno(), life])
            answer = self._control.recv(32)
        except OSError:
            answer = b""
        if not answer:
            self._control.close()  # No later server takes what would still come for this one.
            raise _not_started(self._log)
        return int(answer)


def _not_started(log: IO[bytes]) -> InfrastructureError:
    log.seek(0)
    tail = log.read().decode(errors="replace")[-_LOG_SHOWN:]
    return InfrastructureError(f"vllm did not start; the end of its log:\n{tail}")


def _arguments(
    directory: str | Path, port: int, context: int, seeds: bool, lora_rank: int | None, dtype: str
) -> list[str]:
    options = {
        "model": str(directory),
        "served-model-name": "policy",
        "host": "127.0.0.1",
        "port": str(port),
        "dtype": dtype,
        "max-model-len": str(context),
        "logprobs-mode": "processed_logprobs",
        # What a turn adds to a block that was not full is read again in the next turn.
        "block-size": "32",
    }
    flags = ["--no-enable-chunked-prefill"] if seeds else []
    if lora_rank is not None:
        flags.append("--enable-lora")
        options["max-lora-rank"] = str(lora_rank)
    # A prompt that is read whole must fit into one step.
    options["max-num-batched-tokens"] = str(max(context, _SEEDED_BATCH) if seeds else _BATCH)
    named = [word for name, value in options.items() for word in (f"--{name}", value)]
    return ["--enforce-eager", *flags, *named]


def _environment() -> dict[str, str]:
    return {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; of all settings the one that a caller may give
        **os.environ,
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        # More threads than idle cores make it many times slower, and so does a core that is fixed
        # when another process has it.
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
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


def _ready(process: int, url: str, directory: str, deadline: float) -> bool:
    while time.monotonic() < deadline and _runs(process):
        try:
            with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
                # Whoever else took the port meanwhile does not serve this folder.
                return bool(json.load(answer)["data"][0]["root"] == directory)
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _stop(process: int) -> None:
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    while time.monotonic() < deadline and _runs(process):
        time.sleep(_POLL_SECONDS)
    # The engine is a process of its own, in the same session.
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
