"""HumanEval: 164 functions to complete. Chen et al. 2021, arXiv:2107.03374."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.programs import PROGRAM
from qwq_env.evaluation.benchmarks.protocol import GREEDY, Benchmark, Hub

_QWQ: Final = replace(
    PROGRAM,
    prompt="the beginning of the program, to be completed and handed in whole, in one block",
)

HUMANEVAL: Final = Benchmark(
    name="humaneval",
    title="HumanEval",
    environment="qwq/CodeTool-v0",
    size=164,
    home="https://github.com/openai/human-eval (data/HumanEval.jsonl.gz)",
    hub=Hub("openai/openai_humaneval"),
    forms={"openai/human-eval": ("task_id", "prompt", "test", "entry_point")},
    files=("HumanEval.jsonl", "test-*.parquet"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ, metric="pass@1, greedy", source="arXiv:2107.03374", sampling=GREEDY
        ),
    },
)
