"""MATH-500: 500 problems of MATH. Hendrycks et al. 2021, arXiv:2103.03874; the split of Lightman
et al. 2023, arXiv:2305.20050."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.arithmetic import INSTRUCTION
from qwq_env.envs.math import math_row
from qwq_env.evaluation.benchmarks.math_answers import BARE, box_vote
from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol
from qwq_env.task import Task

_PROMPT: Final = f"the problem, then {INSTRUCTION.strip()!r}"
_JUDGE: Final = "qwq/MathTool-v0: equal as mathematics"


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
            source="arXiv:2305.20050",
            sampling=GREEDY,
            arguments=BARE,
            read=math_row,
        ),
    },
    vote=box_vote,
    group=_subject,
)
