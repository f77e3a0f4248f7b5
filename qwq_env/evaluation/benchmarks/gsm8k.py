"""GSM8K: 1,319 word problems of grade school. Cobbe et al. 2021, arXiv:2110.14168."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import math_row
from qwq_env.evaluation.benchmarks.math_answers import BARE, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol

_PROMPT: Final = f"the problem, then {INSTRUCTION.strip()!r}; no examples"
_JUDGE: Final = "qwq/MathTool-v0: equal as mathematics to what stands behind ####"

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
        "qwq": Protocol(
            prompt=_PROMPT,
            extraction="the last box after the thinking",
            judge=_JUDGE,
            metric="the share of right answers; QwQ publishes none, its sampling is taken",
            source=QWQ_SOURCE,
            arguments=BARE,
            read=math_row,
        ),
        "official": Protocol(
            prompt=_PROMPT,
            extraction="the last box after the thinking",
            judge=_JUDGE,
            metric="the share of right answers, greedy",
            source="arXiv:2110.14168",
            sampling=GREEDY,
            arguments=BARE,
            read=math_row,
        ),
    },
    vote=box_vote,
)
