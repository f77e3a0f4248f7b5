"""Sides in processes of their own: what they cost is seen whole, what they print is no answer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SPINNING = """
import subprocess, sys, time
from _side import answer

SPIN = "import time\\nwhile time.process_time() < 0.3: pass"

async def play(asked):
    print("on the way")
    subprocess.run([sys.executable, "-c", SPIN + "\\nprint('child')"], check=True)
    return int(asked) - {short}

answer(play)
"""


@pytest.fixture(scope="module")
def sides():
    spec = importlib.util.spec_from_file_location("benchmark_sides", BENCHMARKS / "_sides.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cost_of_a_side_is_that_of_all_its_processes(sides, tmp_path):
    script = tmp_path / "spinning.py"
    script.write_text(SPINNING.replace("{short}", "0"))
    with sides.side(sys.executable, str(script)) as spinning:
        costs = [spinning.play(2), spinning.play(2)]

    for cost in costs:
        assert round(2 * cost.cpu, 2) >= 0.29  # the kernel counts in hundredths
        assert cost.wall >= 0.15


def test_a_side_that_gets_it_wrong_is_not_measured(sides, tmp_path):
    script = tmp_path / "spinning.py"
    script.write_text(SPINNING.replace("{short}", "1"))
    with (
        sides.side(sys.executable, str(script)) as spinning,
        pytest.raises(AssertionError, match="right"),
    ):
        spinning.play(2)
