"""MBPP: short Python programs, the 427 sanitized ones. Austin et al. 2021, arXiv:2108.07732."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.programs import PROGRAM
from qwq_env.evaluation.benchmarks.protocol import GREEDY, Benchmark, Hub

_QWQ: Final = replace(
    PROGRAM,
    prompt="the task and its first assertion; the program is handed in whole, in one block",
    judge="qwq/CodeTool-v0: the published assertions, all of them, in the sandbox",
)

MBPP: Final = Benchmark(
    name="mbpp",
    title="MBPP, sanitized",
    environment="qwq/CodeTool-v0",
    size=427,
    home="https://github.com/google-research/google-research (mbpp/sanitized-mbpp.json)",
    hub=Hub("google-research-datasets/mbpp", "sanitized"),
    forms={
        "google-research, sanitized": ("task_id", "prompt", "test_list"),
        "google-research, full": ("task_id", "text", "test_list"),
    },
    files=("sanitized-mbpp.json", "mbpp.jsonl", "test-*.parquet"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ,
            prompt=f"{_QWQ.prompt}; published figures show three solved examples, here are none",
            metric="pass@1, greedy; the hub's test split has 257 of the 427",
            source="arXiv:2108.07732",
            sampling=GREEDY,
        ),
    },
)
