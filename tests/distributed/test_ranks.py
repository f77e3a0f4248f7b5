"""Several ranks against one server: whose tokens does each rank get?

Real processes with gloo between them; see `benchmarks/ranks.py`, which plays 200 trials of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "ranks.py"
TRIALS = 2


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    command = [sys.executable, str(BENCHMARK), "--json", "--trials", str(TRIALS)]
    done = subprocess.run(
        [*command, "--deadline", "120"], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_every_token_is_of_its_own_prompt(found, ranks):
    ours = found["ours"][str(ranks)]

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
