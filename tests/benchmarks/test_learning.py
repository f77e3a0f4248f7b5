"""The benchmark of the main job in miniature: what it runs, writes, and calls right."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from qwq_env.cli import main

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "learning.py"
SMALL = [
    "cold_start.steps=2", "cold_start.batch=4", "cold_start.transcripts=32",
    "grpo.steps=1", "grpo.episodes=8",
    "grpo.max_completion_tokens=24", "evaluation.tasks=4", "evaluation.samples=0",
]  # fmt: skip


@pytest.mark.slow
def test_seeds_and_control_are_written_with_their_minutes(tmp_path, capsys):
    out = tmp_path / "learning.json"
    code = main(["bench", "learning", *SMALL, "--seeds", "3", "--json", "--out", str(out)])

    result = json.loads(out.read_text())
    assert code == 1
    assert json.loads(capsys.readouterr().out) == result
    assert list(result["runs"]) == ["seed 3", "control, seed 3"]
    for run in result["runs"].values():
        assert run["steps"] == 1
        assert run["minutes"] * 60 > sum(run["seconds"].values())
        assert {"accuracy_cold", "accuracy_trained", "accuracy_trained_greedy"} <= run.keys()
    assert "torch" in result["versions"]


@pytest.mark.parametrize(
    ("name", "cold", "trained", "by_tool", "right"),
    [
        ("seed 0", 0.25, 0.95, 0.99, True),
        ("seed 0", 0.25, 0.89, 0.99, False),
        ("seed 0", 0.50, 0.95, 0.99, False),
        ("seed 0", 0.25, 0.95, 0.90, False),
        ("control, seed 0", 0.25, 0.05, 0.99, True),
        ("control, seed 0", 0.25, 0.95, 0.99, False),
    ],
)
def test_what_counts_as_right(name, cold, trained, by_tool, right):
    holds = runpy.run_path(str(BENCHMARK))["holds"]
    found = {"accuracy_cold": cold, "accuracy_trained": trained, "paid_by_tool": by_tool}

    assert holds(name, found) is right
