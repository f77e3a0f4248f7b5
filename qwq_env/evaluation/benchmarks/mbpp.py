"""MBPP: short Python programs, the 427 sanitized ones. Austin et al. 2021, arXiv:2108.07732."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.code_rows import code_row
from qwq_env.evaluation.benchmarks.math_answers import BARE
from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol

_PROMPT: Final = "the task and its first assertion; the program is handed in whole, in one block"
_EXTRACTION: Final = "the last Python block after the thinking"
_JUDGE: Final = "qwq/CodeTool-v0: the published assertions, all of them, in the sandbox"

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
        "qwq": Protocol(
            prompt=_PROMPT,
            extraction=_EXTRACTION,
            judge=_JUDGE,
            metric="pass@1; QwQ publishes none, its sampling is taken",
            source=QWQ_SOURCE,
            arguments=BARE,
            read=code_row,
        ),
        "official": Protocol(
            prompt=f"{_PROMPT}; published figures show three solved examples, here are none",
            extraction=_EXTRACTION,
            judge=_JUDGE,
            metric="pass@1, greedy; the hub's test split has 257 of the 427",
            source="arXiv:2108.07732",
            sampling=GREEDY,
            arguments=BARE,
            read=code_row,
        ),
    },
)
