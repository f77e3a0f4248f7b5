"""A real vLLM server on CPU, one for the session, on a tiny model in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONTEXT = 1024


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them wait for a server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Served:
    """A running server, and the folder of the model that it serves."""

    url: str
    directory: Path


@pytest.fixture(scope="session")
def policy_checkpoint(cpu_servers, tmp_path_factory) -> Path:
    """The folder of a tiny model that has just learned to call the calculator, while the first
    server starts.

    Its heads are as large as vLLM's attention on CPU wants them.
    """
    from qwq_env.dialect.codec import TokenCodec
    from qwq_env.envs.arithmetic import ArithmeticTaskSet
    from qwq_env.training.cold_start import cold_start
    from qwq_env.training.recipe import PolicyRecipe
    from qwq_env.training.tiny.policy import build_tiny_policy
    from qwq_env.training.tiny.teacher import Teacher, TeacherMix
    from qwq_env.training.weights.disk import prepare_served

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
def served(cpu_servers, policy_checkpoint, tmp_path_factory) -> Iterator[Served]:
    """The server, on a copy of the checkpoint."""
    directory = tmp_path_factory.mktemp("served")
    shutil.copytree(policy_checkpoint, directory, dirs_exist_ok=True)
    with cpu_servers.serve(directory, context=CONTEXT, seeds=True) as url:
        yield Served(url, directory)
