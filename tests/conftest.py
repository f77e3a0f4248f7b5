"""Parts that many tests use: a tokenizer that can write anything, and a codec on it."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if any(word.startswith("--processes") for word in sys.argv):
    # Where files run side by side, threads beyond the cores only get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
from hypothesis import HealthCheck, settings

from . import side_by_side
from .byte_tokenizer import byte_tokenizer
from .qwen_tokenizer import qwen_tokenizer

gc.disable()  # until all is imported and collected; see `pytest_collection_finish`

if TYPE_CHECKING:
    from qwq_env.rollout.vllm_local import CpuServers

VLLM = Path(__file__).resolve().parents[1] / ".venv-vllm" / "bin" / "python"
_SERVERS = pytest.StashKey["CpuServers"]()

# A busy machine is no fault of an example. `benchmarks/properties.py` asks for many more of them.
EXAMPLES = int(os.environ.get("QWQ_EXAMPLES", "50"))
for name, count in (("busy", EXAMPLES), ("quick", 10)):
    settings.register_profile(
        name, deadline=None, max_examples=count, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("busy")

_LONGEST_FIRST = (
    "integration", "grading/reward/test_vllm_server.py", "training/test_run.py",
    "sandbox/test_hostile.py", "training/test_qwq.py", "benchmarks/test_learning.py",
    "distributed", "sandbox", "training", "test_documentation.py", "tools", "testing",
)  # fmt: skip
"""Where the long tests stand: begun first, so that no process is left alone with one at the end."""

_NOT_QUICK = (
    "benchmarks", "compat", "distributed", "envs", "evaluation", "grading", "integration",
    "mutants", "rollout/test_transformers_policy.py", "sandbox", "training",
    "tools/test_python.py", "tools/test_python_lifetime.py", "tools/test_mcp.py",
    "tools/test_mcp_http.py", "dialect/test_check_command.py", "dialect/test_codec.py",
    "dialect/test_codec_families.py", "testing",
    "dialect/test_parse_mixed.py", "dialect/test_qwq_template.py",
    "test_documentation.py", "test_public_names.py", "test_versions.py", "viewer/test_browser.py",
    "viewer/test_page_build.py", "interop",
)  # fmt: skip
"""What is left out with `--quick`, beside the files that import torch or what is on it: whoever
works there runs that folder."""
_HEAVY = re.compile(
    r"^(?:from|import) (?:torch|transformers|trl|accelerate|datasets|qwq_env\.training"
    r"|qwq_env\.rollout\.transformers_policy)\b",
    re.MULTILINE,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: what one runs while one works, in a minute; `--processes`: how many at a time."""
    parser.addoption("--processes", type=int, default=1, help="play files in so many processes")
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out the tests marked slow, and those of training and of real servers",
    )


def pytest_configure(config: pytest.Config) -> None:
    """With `--quick`, fewer examples of a property."""
    if config.getoption("quick", False):
        settings.load_profile("quick")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where all tests are played side by side, import vLLM while they are collected."""
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and config.getoption("processes") > 1 and not config.option.quick and VLLM.exists():
        from qwq_env.rollout import vllm_local

        begun = ExitStack()
        config.stash[_SERVERS] = begun.enter_context(vllm_local.cpu_servers(VLLM))
        config.add_cleanup(begun.close)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick`, do not even import what takes long to import."""
    if not config.getoption("quick", False):
        return None
    if collection_path in [Path(__file__).parent / name for name in _NOT_QUICK]:
        return True
    source = collection_path.read_text("utf-8") if collection_path.suffix == ".py" else ""
    return bool(_HEAVY.search(source)) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long tests, or leave them out."""
    items.sort(key=lambda item: _place(item.nodeid))
    if config.getoption("quick", False):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)


def pytest_collection_finish() -> None:
    """Do not search what was collected and imported for garbage: each trainer of the tests would do
    it where it begins, for longer than its steps take."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A test leaves the working directory as it was: the next one in its process relies on it."""
    if Path.cwd() != item.config.invocation_params.dir:
        os.chdir(item.config.invocation_params.dir)
        pytest.fail("left another working directory behind")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With `--processes`, files side by side."""
    processes = session.config.getoption("processes")
    if processes < 2 or session.config.option.collectonly or session.testsfailed:
        return None
    return side_by_side.play(session, processes)


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


@pytest.fixture(scope="session")
def cpu_servers(pytestconfig) -> Iterator[CpuServers]:
    """Starts real vLLM servers; made early, it has vLLM imported when the first is asked for."""
    from qwq_env.rollout import vllm_local

    if _SERVERS in pytestconfig.stash:
        yield pytestconfig.stash[_SERVERS]
        return
    if not VLLM.exists():
        pytest.skip(f"no vLLM: {VLLM.parents[1].name} is missing; `make test` makes it")
    with vllm_local.cpu_servers(VLLM) as servers:
        yield servers
