"""AIME 2024 and 2025: thirty problems each, whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.math_answers import BESIDE_QWQ, MATH, QWQ_JUDGE, box_vote
from qwq_env.evaluation.benchmarks.protocol import Benchmark, Hub

_FORMS: Final = {
    "QwenLM/QwQ": ("prompt", "answer"),
    "HuggingFaceH4/aime_2024, math-ai/aime25": ("problem", "answer"),
    "opencompass/AIME2025": ("question", "answer"),
}
_QWQ: Final = replace(
    MATH, judge=BESIDE_QWQ, metric="avg@64: the mean over 64 samples a problem", samples=64
)
_PROTOCOLS: Final = {
    "qwq": _QWQ,
    "official": replace(
        _QWQ,
        metric="the share of right answers, one sample a problem, as a contestant has",
        source="MAA, AIME I and II",
        samples=1,
    ),
}

AIME24: Final = Benchmark(
    name="aime24",
    title="AIME 2024 I and II",
    environment="qwq/MathTool-v0",
    size=30,
    home="https://github.com/QwenLM/QwQ (eval/data/aime24.jsonl)",
    hub=Hub("HuggingFaceH4/aime_2024", split="train"),
    forms=_FORMS,
    files=("aime24.jsonl", "aime_2024*"),
    protocols=_PROTOCOLS,
    measures=(QWQ_JUDGE,),
    vote=box_vote,
)

AIME25: Final = replace(
    AIME24,
    name="aime25",
    title="AIME 2025 I and II",
    home="https://github.com/QwenLM/QwQ (eval/data/aime25.jsonl)",
    hub=Hub("math-ai/aime25"),
    files=("aime25.jsonl", "aime_2025*", "aime2025*"),
)
