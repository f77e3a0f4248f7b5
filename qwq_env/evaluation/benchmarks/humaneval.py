"""HumanEval: 164 functions to complete. Chen et al. 2021, arXiv:2107.03374."""

from __future__ import annotations

from typing import Final

from qwq_env.envs.code_rows import code_row
from qwq_env.evaluation.benchmarks.math_answers import BARE
from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol

_PROMPT: Final = "the beginning of the program, to be completed and handed in whole, in one block"
_EXTRACTION: Final = "the last Python block after the thinking"
_JUDGE: Final = "qwq/CodeTool-v0: the published tests, all of them, in the sandbox"

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
            prompt=_PROMPT,
            extraction=_EXTRACTION,
            judge=_JUDGE,
            metric="pass@1, greedy",
            source="arXiv:2107.03374",
            sampling=GREEDY,
            arguments=BARE,
            read=code_row,
        ),
    },
)
