"""How an evaluation stands while it plays, and what it is told to have used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qwq_env.errors import UsageError
from qwq_env.evaluation.meter import Prices, prices_of
from qwq_env.evaluation.progress import Progress
from qwq_env.outcome import Outcome
from qwq_env.trajectory import Trajectory


def ended(task: str, reward: float | None) -> Trajectory:
    outcome = Outcome.answered() if reward is not None else Outcome.lost("infrastructure", "x")
    return Trajectory(task, task, 0, [], 0, [], [], [], outcome, reward)


def test_a_line_says_score_tokens_cost_and_time_left(capsys):
    used = {"prompt_tokens": 1_000_000, "sampled_tokens": 2_500_000}
    with Progress("aime24", 8, lambda t: t.reward, lambda: used, Prices(0.5, 2.0)) as progress:
        for task, reward in (("a", 1.0), ("b", 0.0), ("c", None)):
            progress.count(ended(task, reward))
        line = progress.line()

    assert line.startswith("aime24  3/8  0.5000 ± 0.5000  2,500,000 tokens  $5.50  1 lost  ")
    assert line.endswith("0m00s left")
    lines = capsys.readouterr().err.splitlines()
    # No terminal: plain lines, and only now and then.
    assert [line.split()[-1] for line in lines] == ["begins", "ended"]
    assert not any("\r" in line or "\x1b" in line for line in lines)


def test_what_was_there_says_nothing_of_the_time_left():
    progress = Progress("aime24", 8, lambda t: t.reward, dict)
    progress.count(ended("a", 1.0), earlier=True)

    assert progress.line() == "aime24  1/8  1.0000"


@pytest.mark.parametrize("given", [[1.0], [-1.0, 2.0], [float("nan"), 1.0]])
def test_prices_are_two_numbers(given):
    with pytest.raises(UsageError, match="price: "):
        prices_of(given)


def test_stored_answers_need_nothing_that_trains():
    code = """
import sys
for name in ("rich", "torch", "transformers", "trl", "datasets", "yaml", "matplotlib"):
    sys.modules[name] = None
from qwq_env.evaluation.run import run_evaluation
import qwq_env.evaluation.report, qwq_env.cli.eval
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
