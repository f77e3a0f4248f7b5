"""The benchmark of the main job in miniature: what it runs, writes, and calls right."""

from __future__ import annotations

import argparse
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
def test_a_run_is_written_with_its_minutes(tmp_path, capsys):
    out = tmp_path / "learning.json"
    command = ["bench", "learning", *SMALL, "--seeds", "3", "--no-control", "--json"]
    code = main([*command, "--out", str(out)])

    result = json.loads(out.read_text())
    assert code == 1
    assert json.loads(capsys.readouterr().out) == result
    [(name, run)] = result["runs"].items()
    assert name == "seed 3"
    assert run["steps"] == 1
    assert run["minutes"] * 60 > sum(run["seconds"].values())
    assert {"accuracy_cold", "accuracy_trained", "accuracy_trained_greedy"} <= run.keys()
    assert "torch" in result["versions"]


def test_the_control_is_the_first_seed_with_rewards_by_lot():
    asked = runpy.run_path(str(BENCHMARK))["asked"]
    given = argparse.Namespace(seeds=[3, 5], overrides=["grpo.steps=1"], no_control=False)

    assert asked(given) == {
        "seed 3": (3, "grpo.steps=1"),
        "seed 5": (5, "grpo.steps=1"),
        "control, seed 3": (3, "grpo.reward=random", "grpo.steps=1"),
    }


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
