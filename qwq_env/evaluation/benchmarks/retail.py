"""Retail: the 114 tasks of tau2-bench's shop. Barres et al. 2025, arXiv:2506.07982.

tau2-bench has a model play the customer. Here all that the customer would say stands in the first
message and nobody answers, so figures are not those of its leaderboard. `--argument user=...` has a
model play it here, too, in words of ours (`qwq_env.users.make_user`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qwq_env.evaluation.benchmarks.protocol import GREEDY, QWQ_SOURCE, Benchmark, Protocol

_QWQ: Final = Protocol(
    prompt="the shop's policy; the customer's notes at once, and no simulated customer",
    extraction="the records at the end, and what the model's answers say",
    judge="qwq/Retail-v0: the records as the gold actions leave them, and what had to be said",
    metric="the share of tasks; QwQ publishes none, its sampling is taken",
    source=QWQ_SOURCE,
    arguments={"split": "base"},
)

RETAIL: Final = Benchmark(
    name="retail",
    title="tau2-bench retail, without a customer who answers",
    environment="qwq/Retail-v0",
    size=114,
    home="https://github.com/sierra-research/tau2-bench (data/tau2/domains/retail)",
    files=("tasks.json", "db.json"),
    protocols={
        "qwq": _QWQ,
        "official": replace(
            _QWQ,
            metric="the share of tasks over 4 samples, greedy",
            source="arXiv:2506.07982",
            samples=4,
            sampling=GREEDY,
        ),
    },
)
