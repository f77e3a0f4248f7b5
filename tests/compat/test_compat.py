"""What `make compat` asks for and what it makes of the answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.requirements import Requirement

from . import __main__ as compat
from .__main__ import Outcome, counted, outcome_of, table
from .contracts import CORE, TRAINING
from .environment import Environment
from .pythons import find_python
from .requirements import EXTRAS, at_their_lowest, declared, wanted

ROOT = Path(__file__).parents[2]
OWN = "{}.{}".format(*sys.version_info)


def test_each_requirement_is_held_at_the_lowest_that_it_admits():
    asked = map(Requirement, ["a>=1.10,<3", "b>=0.9", "c", "a>=1.9"])

    assert at_their_lowest(asked) == ["a==1.10", "b==0.9"]


def test_every_library_that_is_needed_has_a_lower_bound():
    needed = {each.name for each in declared(ROOT, *EXTRAS)}

    assert {line.partition("==")[0] for line in at_their_lowest(declared(ROOT, *EXTRAS))} == needed


def test_without_torch_nothing_that_needs_it_is_installed():
    names = {Requirement(each).name for each in wanted(ROOT, torch=False) if each[0] != "-"}

    assert {"transformers", "pytest"} <= names
    assert not names & {"torch", "trl", "accelerate"}


@pytest.mark.parametrize("path", [*CORE, *TRAINING])
def test_the_contract_tests_are_there(path):
    file, _, name = path.partition("::")

    assert (ROOT / file).exists()
    assert f"def {name}(" in (ROOT / file).read_text() if name else True


def test_a_python_is_found_behind_one_of_its_name_that_does_not_run(tmp_path, monkeypatch):
    for folder, text in (("shims", "exit 127"), ("bin", "echo 3.99")):
        shim = tmp_path / folder / "python3.99"
        shim.parent.mkdir()
        shim.write_text(f"#!/bin/sh\n{text}\n")
        shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")

    assert find_python("3.99") == str(tmp_path / "bin" / "python3.99")
    assert find_python("3.98") is None
    assert find_python(OWN) == sys.executable


class _Here(Environment):
    """This very environment."""

    python = sys.executable
    versions: ClassVar = {"torch": "here"}

    def make(self) -> None:
        self.folder.mkdir()


def test_an_environment_runs_its_tests_and_counts_them(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "CORE", ("tests/test_errors.py",))
    monkeypatch.setattr(compat, "TRAINING", ("tests/test_task.py",))

    outcome = outcome_of(_Here("here", OWN, False, tmp_path))

    assert not outcome.failed and outcome.counts["passed"] > 10
    assert outcome.versions == {"torch": "here"}


def test_the_table_says_what_was_not_run(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="9" failures="1" errors="1" skipped="2"/></testsuites>'
    )
    lacking = Outcome("py3.12", why="no python3.12")

    shown = table([Outcome("lowest", {"python": "3.11.7"}, counted(report), 60.0), lacking])

    lines = [line.split() for line in shown.splitlines()]
    assert ["python", "3.11.7", "-"] in lines
    assert ["passed", "5", "-"] in lines
    assert shown.endswith("py3.12: no python3.12")
