"""What differs between versions of the libraries below: what there is is found by looking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("packaging")

from qwq_env.errors import UsageError
from qwq_env.versions import (
    cache_argument,
    check_trainer,
    check_versions,
    checkpointing_argument,
)


def of_old(input_ids, past_key_values=None, use_cache=None): ...
def of_new(input_ids, cache=None, use_cache=None): ...


@pytest.mark.parametrize(
    ("forward", "name"), [(of_old, "past_key_values"), (of_new, "cache")], ids=["old", "new"]
)
def test_a_model_says_how_it_takes_its_cache(forward, name):
    assert cache_argument(forward) == name


class Older:
    def __init__(self, gradient_checkpointing=True): ...


class Newer:
    """Both names are there for a time; the older one warns."""

    def __init__(self, activation_checkpointing=None, gradient_checkpointing=None): ...


@pytest.mark.parametrize(
    ("config", "name"),
    [(Older, "gradient_checkpointing"), (Newer, "activation_checkpointing")],
)
def test_the_setting_that_recomputes_activations(config, name):
    assert checkpointing_argument(config) == name


def test_a_trainer_without_a_place_for_rollouts_is_refused(tmp_path, monkeypatch):
    install(tmp_path, "trl", "1.25.0")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UsageError, match=r"trl 1\.25\.0: .*no rollout_func"):
        check_trainer(Older)


def install(folder: Path, name: str, version: str, *needs: str) -> None:
    """Lay the metadata of a package where they are found as if it were installed."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata.write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs), ""]))


NEEDS = ('trl>=1.16,<1.18; extra == "train"', "httpx>=0.27", 'ruff>=99; extra == "dev"')


@pytest.mark.parametrize(
    ("trl", "said"),
    [
        ("1.16.0", []),
        ("1.17.3", []),
        ("1.18.0", ["trl 1.18.0 is newer than what this was tested with (<1.18,>=1.16)"]),
    ],
)
def test_what_is_newer_than_the_declared_range_is_told(tmp_path, monkeypatch, trl, said):
    install(tmp_path, "qwq-env", "9", *NEEDS)
    install(tmp_path, "trl", trl)
    monkeypatch.syspath_prepend(tmp_path)

    assert check_versions() == said


TRAIN = "import sys; from qwq_env.cli import main; sys.exit(main())"


@pytest.mark.parametrize("trl", ["1.15.0", "1.9.2", "1.16.0rc1"])
def test_what_is_too_old_ends_the_command_before_it_is_imported(tmp_path, trl):
    install(tmp_path, "qwq-env", "9", *NEEDS)
    package(tmp_path, "trl", trl, {"__init__": "raise SystemError('was imported')"})

    ended = python(tmp_path, TRAIN, "train", "recipes/tiny.yaml")

    assert ended.returncode == 2
    assert ended.stderr == (
        f"qwq: error: trl: {trl}; expected trl<1.18,>=1.16: pip install 'trl<1.18,>=1.16'\n"
    )


PACKAGE = "experimental/async_grpo"
ROWS = {f"{PACKAGE}/async_rollout_worker": "class RolloutSample: ..."}
WITHOUT_WORKER = """
class AsyncGRPOTrainer:
    def __init__(self, model, args=None): ...
"""
GONE: dict[str, dict[str, str]] = {
    "moved": {"experimental/__init__": ""},
    "without a worker": {**ROWS, f"{PACKAGE}/async_grpo_trainer": WITHOUT_WORKER},
    "without a trainer": {**ROWS, f"{PACKAGE}/async_grpo_trainer": ""},
}


@pytest.mark.parametrize("files", GONE.values(), ids=GONE)
def test_an_async_trainer_that_takes_no_worker_is_named(tmp_path, files):
    install(tmp_path, "qwq-env", "9", *NEEDS)
    package(tmp_path, "trl", "1.18.0", files)

    ended = python(tmp_path, "from qwq_env.versions import rollout_sample; rollout_sample()")

    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("qwq_env.errors.UsageError: trl 1.18.0: its AsyncGRPOTrainer takes no")
    assert "pip install 'trl<1.18,>=1.16'" in last


def package(folder: Path, name: str, version: str, files: Mapping[str, str]) -> None:
    """Install a package of these modules."""
    install(folder, name, version)
    for module, text in {"__init__": "", **files}.items():
        path = folder / name / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def python(first: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the packages of `first` before all others."""
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, cwd=root,
        env={"PYTHONPATH": f"{first}:{root}", "PATH": os.environ["PATH"]},
    )  # fmt: skip
