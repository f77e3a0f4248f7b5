"""A real vLLM server on CPU, one for the session, on a tiny model in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).resolve().parents[2] / ".venv-vllm" / "bin" / "python"
CONTEXT = 1024
START_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests where there is no server to start."""
    missing = PYTHON.parents[1].name
    absent = pytest.mark.skip(reason=f"no vLLM: {missing} is missing; `make test` makes it")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if not PYTHON.exists():
                item.add_marker(absent)


@dataclass(frozen=True)
class Served:
    """A running server, and the folder of the model that it serves."""

    url: str
    directory: Path


@pytest.fixture(scope="session")
def policy_checkpoint(tmp_path_factory) -> Path:
    """The folder of a tiny model that has just learned to call the calculator.

    Its heads are as large as vLLM's attention on CPU wants them.
    """
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.envs.arithmetic import ArithmeticTaskSet
    from qwq_env.training.cold_start import cold_start
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.policy import build_tiny_policy
    from qwq_env.training.tiny.teacher import Teacher, TeacherMix
    from qwq_env.training.weight_sync import prepare_served

    settings = math_environment().settings
    mix = TeacherMix(guess=0.2, call=0.8, slip=0.0, malformed=0.0, ignore=0.0)
    teacher = Teacher(ArithmeticTaskSet(seed=5), settings.tools, settings.dialect, mix=mix)
    lessons = teacher.transcripts(400)
    model, tokenizer = build_tiny_policy(lessons, PolicyRecipe(heads=2, key_value_heads=1), seed=0)
    cold_start(model, TokenCodec(tokenizer), lessons, steps=30, batch=32)
    path = tmp_path_factory.mktemp("checkpoint")
    prepare_served(model, tokenizer, path)
    return path


def math_environment() -> Any:
    """Return the environment of these tests, with a calculator."""
    from qwq_env.envs.math import MathToolEnv

    return MathToolEnv(tools=["calculator"])


@pytest.fixture(scope="session")
def served(policy_checkpoint, tmp_path_factory) -> Iterator[Served]:
    """The server, on a copy of the checkpoint."""
    directory = tmp_path_factory.mktemp("served")
    shutil.copytree(policy_checkpoint, directory, dirs_exist_ok=True)
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    port = free_port()
    with log.open("wb") as output:
        server = subprocess.Popen(
            command(directory, port), env=environment(), stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_ready(server, port, log)
        yield Served(f"http://127.0.0.1:{port}", directory)
    finally:
        stop(server)


def command(directory: Path, port: int) -> list[str]:
    """Return the command of a server. The `vllm` command itself fails on CPU builds."""
    options: dict[str, Any] = {
        "model": directory, "served-model-name": "policy", "dtype": "float32", "port": port,
        "host": "127.0.0.1", "max-model-len": CONTEXT, "logprobs-mode": "processed_logprobs",
    }  # fmt: skip
    named = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *named]


def environment() -> dict[str, str]:
    """Return the variables of a server; development mode opens the routes for weights."""
    return {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the server answers; fail with the end of its log when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    tail = log.read_text(errors="replace")[-3000:]
    pytest.fail(f"vLLM did not start; the end of its log:\n{tail}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and the engine processes that it started."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    server.wait()
