"""AMC 2023: the forty problems of AMC 12 A and B whose answers are numbers, without the choices."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.math_answers import BESIDE_QWQ, MATH, QWQ_JUDGE, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, Benchmark, Hub

_QWQ: Final = replace(MATH, judge=BESIDE_QWQ)

AMC23: Final = Benchmark(
    name="amc23",
    title="AMC 2023, 12 A and B",
    environment="qwq/MathTool-v0",
    size=40,
    home="https://github.com/QwenLM/Qwen2.5-Math (evaluation/data/amc23/test.jsonl)",
    hub=Hub("math-ai/amc23"),
    forms={"Qwen2.5-Math": ("problem", "answer"), "math-ai/amc23": ("question", "answer")},
    files=("test.jsonl", "amc23*"),
    protocols={
        "qwq": replace(
            _QWQ, metric="avg@64; QwQ publishes none, its settings for AIME are taken", samples=64
        ),
        "official": replace(
            _QWQ,
            metric="the share of right answers, greedy, as Qwen2.5-Math reports it",
            source="QwenLM/Qwen2.5-Math, evaluation/",
            sampling=GREEDY,
        ),
    },
    measures=(QWQ_JUDGE,),
    vote=box_vote,
)
