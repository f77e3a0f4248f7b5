"""AMC 2023: the forty problems of AMC 12 A and B whose answers are numbers, without the choices."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import math_row
from qwq_env.evaluation.benchmarks.math_answers import BARE, MATH_JUDGE, QWQ_JUDGE, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol

_PROMPT: Final = f"the problem, then {INSTRUCTION.strip()!r}"

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
        "qwq": Protocol(
            prompt=_PROMPT,
            extraction="the last box after the thinking",
            judge=MATH_JUDGE,
            metric="avg@64; QwQ publishes none, its settings for AIME are taken",
            source=QWQ_SOURCE,
            samples=64,
            arguments=BARE,
            read=math_row,
        ),
        "official": Protocol(
            prompt=_PROMPT,
            extraction="the last box after the thinking",
            judge=MATH_JUDGE,
            metric="the share of right answers, greedy, as Qwen2.5-Math reports it",
            source="QwenLM/Qwen2.5-Math, evaluation/",
            sampling=GREEDY,
            arguments=BARE,
            read=math_row,
        ),
    },
    measures=(QWQ_JUDGE,),
    vote=box_vote,
)
