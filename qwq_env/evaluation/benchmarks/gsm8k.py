"""GSM8K: 1,319 word problems of grade school. Cobbe et al. 2021, arXiv:2110.14168."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.math_answers import MATH, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, Benchmark, Hub

_QWQ: Final = replace(
    MATH,
    prompt=f"{MATH.prompt}; no examples",
    judge=f"{MATH.judge} to what stands behind ####",
)

GSM8K: Final = Benchmark(
    name="gsm8k",
    title="GSM8K, test",
    environment="qwq/MathTool-v0",
    size=1319,
    home="https://github.com/openai/grade-school-math (data/test.jsonl)",
    hub=Hub("openai/gsm8k", "main"),
    forms={"openai/gsm8k": ("question", "answer")},
    files=("test.jsonl", "test-*.parquet"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ,
            metric="the share of right answers, greedy",
            source="arXiv:2110.14168",
            sampling=GREEDY,
        ),
    },
    vote=box_vote,
)
