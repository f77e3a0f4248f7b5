"""MATH-500: 500 problems of MATH. Hendrycks et al. 2021, arXiv:2103.03874; the split of Lightman
et al. 2023, arXiv:2305.20050."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.math_answers import MATH, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, Benchmark, Hub
from qwq_env.task import Task


def _subject(task: Task) -> str:
    return str(task.metadata.get("subject", ""))


MATH500: Final = Benchmark(
    name="math500",
    title="MATH-500",
    environment="qwq/MathTool-v0",
    size=500,
    home="https://github.com/openai/prm800k (math_splits/test.jsonl)",
    hub=Hub("HuggingFaceH4/MATH-500"),
    forms={"openai/prm800k": ("problem", "answer")},
    files=("test.jsonl", "math500*", "MATH-500*"),
    protocols={
        "qwq": MATH,
        "official": replace(
            MATH,
            metric="the share of right answers, greedy",
            source="arXiv:2305.20050",
            sampling=GREEDY,
        ),
    },
    vote=box_vote,
    group=_subject,
)
