"""Parts that many tests use: a tokenizer that can write anything, and a codec on it."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Where files run side by side, threads beyond the cores only get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest

from .byte_tokenizer import byte_tokenizer
from .qwen_tokenizer import qwen_tokenizer

_ROOT = Path(__file__).parent
_LONGEST_FIRST = (
    "integration", "training/test_run.py", "training/test_resume.py", "sandbox/test_hostile.py",
    "training/test_qwq.py", "distributed", "test_documentation.py", "sandbox", "training",
)  # fmt: skip
"""Where the long tests stand: begun first, so that no process is left alone with one at the end."""


@pytest.hookimpl(tryfirst=True)  # before the plugin looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (`pytest -n 2 --dist loadgroup`) the tests of a file stay in one process, which
    starts what they share once; those of the vLLM servers all do."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_place)


def _group(item: pytest.Item) -> str:
    file = item.path.relative_to(_ROOT).as_posix()
    if file == "sandbox/test_hostile.py":
        return item.nodeid  # each has a sandbox of its own
    return "integration" if file.startswith("integration/") else file


def _place(item: pytest.Item) -> int:
    file = item.path.relative_to(_ROOT).as_posix()
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
