"""Several ranks against one server: whose tokens does each rank get?

Real processes with gloo between them; see `benchmarks/ranks.py`, which plays 200 trials of it.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "ranks.py"
TRIALS = 2


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the benchmark measures, in this process, whose forks have imported TRL already."""
    given = argparse.Namespace(ranks=[2, 4], trials=TRIALS, only=None, deadline=120.0)
    return runpy.run_path(str(BENCHMARK))["measure"](given)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_every_token_is_of_its_own_prompt(found, ranks):
    ours = found["ours"][ranks]

    assert ours["right"], ours
    assert ours["episodes"] == 8 * ranks * TRIALS
    assert ours["tokens"] > 100 * ours["episodes"]
    assert ours["lost"] < ours["episodes"] // 2


@pytest.mark.slow
def test_contrast_trl_own_loop_mixes_ranks_up_or_never_ends(found):
    """Not ours: why `Rollouts` has no collective call inside an episode."""
    unequal, one_rank = found["trl"]["unequal"], found["trl"]["one_rank"]

    assert unequal["foreign_rows"] > 0
    assert "collective mismatch" in one_rank["failure"] or "still wait" in one_rank["failure"]
