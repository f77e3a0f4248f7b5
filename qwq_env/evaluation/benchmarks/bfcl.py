"""BFCL: the Berkeley Function-Calling Leaderboard, v4: calls that are compared, and services that
are used over several turns. Patil et al. 2025, ICML.

`qwq_env.envs.function_call.rows` says which of its categories are read: of several turns all four,
also those in which functions or parameters are missing at first. The figure here is the
mean over rows, the categories' beside it; the leaderboard's own weighs categories.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol
from qwq_env.task import Task

_QWQ: Final = Protocol(
    prompt="the conversation, its functions as tools, and to call all of them in one turn; of"
    " several turns, step by step, with what is missing shown in the turn that brings it",
    extraction="the calls of the first turn that has any; of several turns, all calls",
    judge="qwq/FunctionCall-v0: the calls against the possible answers; where nothing is to be"
    " called, no call; of several turns, the state and what was read after each",
    metric="the share of rows; QwQ's published 66.4 is the leaderboard's mean of 2025-03",
    source=f"{QWQ_SOURCE}, its sampling",
    arguments={"statement": False},
)


def _category(task: Task) -> str:
    return str(task.metadata["category"])


BFCL: Final = Benchmark(
    name="bfcl",
    title="BFCL v4, Python's single-turn and multi-turn rows",
    environment="qwq/FunctionCall-v0",
    size=None,
    home="https://github.com/ShishirPatil/gorilla (berkeley-function-call-leaderboard)",
    hub=Hub(
        "gorilla-llm/Berkeley-Function-Calling-Leaderboard",
        files=("BFCL_v*.json", "possible_answer/*.json"),
    ),
    files=("BFCL_v*.json", "BFCL_v*.jsonl"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ,
            metric="the share of rows, nearly greedy as the leaderboard (T 0.001)",
            source="ShishirPatil/gorilla, berkeley-function-call-leaderboard",
            sampling=GREEDY,
        ),
    },
    group=_category,
)
