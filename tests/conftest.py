"""Parts that many tests use: a tokenizer that can write anything, and a codec on it."""

from __future__ import annotations

import os
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Where files run side by side, threads beyond the cores only get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from .byte_tokenizer import byte_tokenizer
from .qwen_tokenizer import qwen_tokenizer

# A busy machine is no fault of an example.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

_LONGEST_FIRST = (
    "integration", "training/test_run.py", "training/test_resume.py", "sandbox/test_hostile.py",
    "training/test_qwq.py", "distributed", "test_documentation.py", "sandbox", "training",
)  # fmt: skip
"""Where the long tests stand: begun first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests."""
    items.sort(key=lambda item: _place(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Side by side (`pytest -n 2`) the tests of a file stay in one process, which starts what they
    share once; those of the vLLM servers all do."""
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "integration" if file.startswith("tests/integration/") else file


def _place(nodeid: str) -> int:
    file = nodeid.removeprefix("tests/")
    places = (place for place, name in enumerate(_LONGEST_FIRST) if file.startswith(name))
    return next(places, len(_LONGEST_FIRST))


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer, one token a byte, with the control tokens of QwQ."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def codec(tokenizer):
    from qwq_env.dialect.codec import TokenCodec

    return TokenCodec(tokenizer)


@pytest.fixture(scope="session")
def qwen():
    """Qwen2.5's and QwQ's real vocabulary; skips where `dashscope`, which has it, is missing."""
    tokenizer = qwen_tokenizer()
    if tokenizer is None:
        pytest.skip("Qwen's vocabulary is not here: pip install --no-deps dashscope")
    return tokenizer
