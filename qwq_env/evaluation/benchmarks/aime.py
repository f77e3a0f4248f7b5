"""AIME 2024 and 2025: thirty problems each, whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import math_row
from qwq_env.evaluation.benchmarks.math_answers import BARE, MATH_JUDGE, QWQ_JUDGE, box_vote
from qwq_env.evaluation.benchmarks.protocol import QWQ_SOURCE, Benchmark, Hub, Protocol

_FORMS: Final = {
    "QwenLM/QwQ": ("prompt", "answer"),
    "HuggingFaceH4/aime_2024, math-ai/aime25": ("problem", "answer"),
    "opencompass/AIME2025": ("question", "answer"),
}
_EXTRACTION: Final = "the last box after the thinking"
_PROMPT: Final = f"the problem, then {INSTRUCTION.strip()!r}"

_PROTOCOLS: Final = {
    "qwq": Protocol(
        prompt=_PROMPT,
        extraction=_EXTRACTION,
        judge=MATH_JUDGE,
        metric="avg@64: the mean over 64 samples a problem",
        source=QWQ_SOURCE,
        samples=64,
        arguments=BARE,
        read=math_row,
    ),
    "official": Protocol(
        prompt=_PROMPT,
        extraction=_EXTRACTION,
        judge=MATH_JUDGE,
        metric="the share of right answers, one sample a problem, as a contestant has",
        source="MAA, AIME I and II",
        arguments=BARE,
        read=math_row,
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

AIME25: Final = Benchmark(
    name="aime25",
    title="AIME 2025 I and II",
    environment="qwq/MathTool-v0",
    size=30,
    home="https://github.com/QwenLM/QwQ (eval/data/aime25.jsonl)",
    hub=Hub("math-ai/aime25"),
    forms=_FORMS,
    files=("aime25.jsonl", "aime_2025*", "aime2025*"),
    protocols=_PROTOCOLS,
    measures=(QWQ_JUDGE,),
    vote=box_vote,
)
