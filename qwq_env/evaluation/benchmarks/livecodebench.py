"""LiveCodeBench: programming contests since May 2023. Jain et al. 2024, arXiv:2403.07974.

QwQ's figure is over the 279 problems of August 2024 to February 2025. The file of prompts in its
repository names their tests and does not hold them, so the rows are LiveCodeBench's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from qwq_env.evaluation.benchmarks.programs import PROGRAM
from qwq_env.evaluation.benchmarks.protocol import BARE, Benchmark, Hub
from qwq_env.task import Task

_FIRST, _LAST = "2024-08-01", "2025-02-01"
_QWQ: Final = replace(
    PROGRAM,
    prompt="the problem and its starter code; the program is handed in whole, in one block",
    judge="qwq/CodeTool-v0: public and private tests, all of them, in the sandbox; what is printed"
    " and returned is compared as LiveCodeBench's own judge does",
    metric="avg@8: the mean over 8 samples a problem",
    samples=8,
    arguments={**BARE, "numbers": "livecodebench"},
)


def in_window(row: Mapping[str, Any]) -> bool:
    """Say whether a problem is of the months 2408 to 2502; one without a date is."""
    date = str(row.get("contest_date") or _FIRST)[:10]
    return _FIRST <= date <= _LAST


def _difficulty(task: Task) -> str:
    return str(task.metadata.get("difficulty", ""))


LIVECODEBENCH: Final = Benchmark(
    name="livecodebench",
    title="LiveCodeBench, 2024-08 to 2025-02",
    environment="qwq/CodeTool-v0",
    size=279,
    home="https://huggingface.co/datasets/livecodebench/code_generation_lite (test*.jsonl)",
    hub=Hub("livecodebench/code_generation_lite", files=("test*.jsonl",)),
    forms={
        "livecodebench/code_generation_lite": (
            "question_content",
            "public_test_cases",
            "private_test_cases",
        )
    },
    files=("test*.jsonl",),
    keep=in_window,
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ, metric="pass@1 over 10 samples", source="arXiv:2403.07974", samples=10
        ),
    },
    group=_difficulty,
)
