"""LiveBench: eighteen tasks in six categories, judged by rules. White et al. 2024,
arXiv:2406.19314.

The figure is LiveBench's own: scores may be partial, a category is the mean of its tasks and the
whole the mean of its categories. Of tasks that are asked for in part it is that of the part.

**For evaluation only.** Some rules can be gamed, and none is offered as a reward: of math_comp's
letters `AAAABBBBCCCCDDDDEEEE` holds every one, cta takes any text that ends with the class, and the
rules of instruction_following do not read. The files of `qwq_env.grading.livebench` say it of each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Hub, Protocol
from qwq_env.task import Task

_CATEGORIES: Final = (
    "reasoning", "math", "coding", "language", "data_analysis", "instruction_following",
)  # fmt: skip


def _task(task: Task) -> str:
    return f"{task.metadata['category']}/{task.metadata['task']}"


_QWQ: Final = Protocol(
    prompt="the question as it is",
    extraction="all after the thinking; each task's judge looks for the answer in it",
    judge="LiveBench's rules by task, those of the question's release",
    metric="the mean of the categories, each the mean of its tasks' scores",
    source=f"{QWQ_SOURCE}, its sampling; the release of 2024-11-25",
    arguments={"release": "2024-11-25"},
)

LIVEBENCH: Final = Benchmark(
    name="livebench",
    title="LiveBench, 2024-11-25",
    environment="qwq_env.evaluation.benchmarks.livebench_env:evaluation/LiveBench-v0",
    size=None,
    home="https://github.com/LiveBench/LiveBench (question.jsonl of each task)",
    hub=Hub(
        f"livebench/{_CATEGORIES[0]}",
        files=("**/*.parquet",),
        more=tuple(f"livebench/{category}" for category in _CATEGORIES[1:]),
    ),
    files=("**/question.jsonl", "**/*.parquet"),
    protocols={
        "qwq": _QWQ,
        "official": replace(_QWQ, source="LiveBench/LiveBench, greedy", sampling=GREEDY),
    },
    group=_task,
    partial=True,
    balanced=True,
)
