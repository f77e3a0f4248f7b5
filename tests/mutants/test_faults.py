"""The lists of faults stay true: each can still be put in, and its tests are there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from .fault import Fault, faults
from .runner import run

ROOT = Path(__file__).parents[2]
FAULTS = faults()


def test_there_are_enough():
    ids = Counter(fault.id for fault in FAULTS)

    assert len(FAULTS) >= 60 and max(ids.values()) == 1


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_can_be_put_in(fault):
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    faulty = fault.applied(text)
    if fault.file.endswith(".py"):
        compile(faulty, fault.file, "exec")

    assert faulty != text


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_its_tests_are_there(fault):
    for test in fault.tests:
        file, *name = test.split("[")[0].split("::")
        text = (ROOT / file).read_text(encoding="utf-8")

        assert not name or re.search(rf"^\s*(async )?def {name[-1]}\(", text, re.MULTILINE), test


def test_a_survivor_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer than the tests
    (tmp_path / "sums.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "test_sums.py").write_text(
        "from sums import double\n\n\ndef test_double():\n    assert double(2) == 4\n"
    )
    seen, unseen = (
        Fault(becomes, becomes, "sums.py", "2 * x", becomes, ["test_sums.py"])
        for becomes in ("3 * x", "x + x")
    )

    assert run(tmp_path, [seen, unseen], jobs=1) == 1
    told = capsys.readouterr().out
    assert "killed   3 * x" in told and "SURVIVED x + x" in told
    assert told.endswith("2 faults, 1 survived\n")
