"""What keeps a training from learning is told once, by its metric, with what to change."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from qwq_env.training.learning_watch import LearningWatch

FINE = {"reward": 0.5, "episode/tool_calls": 1.0, "episode/truncated": 0.1}
CUT = {**FINE, "episode/truncated": 0.75, "episode/truncated/turns": 0.5,
       "episode/truncated/tokens": 0.25}  # fmt: skip
SILENT = {**FINE, "episode/tool_calls": 0.0}


def told(caplog, rows, *, has_tools: bool = True, rank: bool = True) -> list[str]:
    watch = LearningWatch(has_tools=has_tools, patience=3)
    with caplog.at_level(logging.WARNING):
        for step, row in enumerate(rows, start=1):
            state = SimpleNamespace(global_step=step, is_world_process_zero=rank)
            watch.on_log(None, state, None, row)
    return caplog.messages


@pytest.mark.parametrize(
    ("rows", "begins", "names"),
    [
        ([FINE] * 9, [], []),
        ([CUT] * 2, [], []),
        ([CUT] * 9, ["step 3: episode/truncated is 0.75"], ["by turns", "environment.turns"]),
        ([CUT, CUT, FINE] * 3, [], []),
        ([CUT, {"loss": 1.0}] * 3, ["step 5: episode/truncated is 0.75 over 3 batches"], []),
        ([*[CUT] * 3, FINE, *[CUT] * 3], ["step 3: episode/trunc", "step 7: episode/trunc"], []),
        ([SILENT] * 4, ["step 3: episode/tool_calls is 0"], ["cold_start.source=solve"]),
        ([{**SILENT, "reward": 1.0}] * 4, [], []),
        ([{"reward": 0.5}] * 4, [], []),
        (
            [*[{**FINE, "reward": 0.9}] * 3, *[{**FINE, "reward": 0.1}] * 4],
            ["step 6: reward fell to 0.10 from 0.90 at step 3"],
            ["grpo.learning_rate"],
        ),
        ([*[{**FINE, "reward": 0.9}] * 3, *[{**FINE, "reward": 0.5}] * 6], [], []),
        ([*[{**FINE, "reward": 0.1}] * 3, *[{**FINE, "reward": 0.0}] * 6], [], []),
        ([FINE, {"loss": 1.0}, {"reward": None}, None, FINE, {"eval_reward": 0.0}], [], []),
    ],
)
def test_each_cause_is_told_once_while_it_lasts(caplog, rows, begins, names):
    lines = told(caplog, rows)

    assert len(lines) == len(begins)
    assert all(line.startswith(begin) for line, begin in zip(lines, begins, strict=True)), lines
    assert all("\n" not in line for line in lines)
    assert all(name in line for name in names for line in lines[:1])


def test_a_policy_without_tools_need_not_call_and_one_rank_speaks(caplog):
    assert told(caplog, [SILENT] * 4, has_tools=False) == []
    assert told(caplog, [CUT] * 4, rank=False) == []
