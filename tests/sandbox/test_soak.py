"""The soak of `benchmarks/sandbox_soak.py`, shortened; `QWQ_SOAK_SECONDS` sets its length."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "sandbox_soak.py"


@pytest.mark.slow
def test_nothing_is_wrong_and_nothing_leaks():
    seconds = os.environ.get("QWQ_SOAK_SECONDS", "2")

    done = subprocess.run(
        [sys.executable, str(SOAK), "--json", "--seconds", seconds, "--callers", "64"],
        capture_output=True,
        text=True,
        timeout=float(seconds) * 3 + 300,
    )

    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["failed"] == [], report
    assert report["executions"] > 100
