"""What comparing costs, and what its intervals hold.

    qwq bench compare [--tasks 2500] [--samples 4] [--tokens 400] [--sets 10000] [--json]

Seconds of CPU to read and compare two runs of 10,000 episodes each. The runs are made up: each
episode is a row as `qwq eval` stores it over token ids, of so many sampled tokens. Reading is most
of it.

The coverage is the share of so many simulated evaluations whose 95 % interval holds the truth: of
120 tasks and four samples each, whose difficulty is drawn anew, for an accuracy and for the
difference of two policies.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from _result import run

from qwq_env.evaluation.comparison import compare_runs
from qwq_env.evaluation.comparison_report import markdown
from qwq_env.evaluation.statistics import Mean, bootstrap_interval, mean_interval
from qwq_env.outcome import Outcome
from qwq_env.rollout.store import EpisodeStore
from qwq_env.trajectory import Span, Trajectory


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="qwq bench compare", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2500)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--sets", type=int, default=10_000)
    run(parser, argv, measure)
    return 0


def measure(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the seconds of a comparison, and what was compared."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write(Path(folder) / name, options, seed) for seed, name in enumerate("ab")]
        size = sum((path / "episodes.jsonl").stat().st_size for path in paths)
        wall, cpu = time.perf_counter(), time.process_time()
        tables = markdown(compare_runs(paths))
        seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "episodes": 2 * options.tasks * options.samples,
        "megabytes": round(size / 1e6, 1),
        "wall_seconds": round(seconds[0], 2),
        "cpu_seconds": round(seconds[1], 2),
        "characters_of_tables": len(tables),
        "coverage": coverage(options.sets),
    }


def coverage(sets: int, tasks: int = 120, samples: int = 4) -> Mapping[str, float]:
    """Return how often the intervals of a mean and of a difference hold the truth."""
    chance = np.random.default_rng(7)
    ability = chance.beta(2, 2, (sets, tasks))
    better = chance.uniform(0.0, 0.2, (sets, tasks)) * (1 - ability)
    first = chance.binomial(samples, ability) / samples
    second = chance.binomial(samples, ability + better) / samples
    ends = bootstrap_interval(second - first, resamples=1000)
    errors = first.std(axis=1, ddof=1) / tasks**0.5
    spans = [
        mean_interval(Mean(mean, error), tasks)
        for mean, error in zip(first.mean(axis=1), errors, strict=True)
    ]
    return {
        "sets": sets,
        # E[better] is 0.1 E[1 - ability], and E[ability] a half.
        "difference": float(((ends[:, 0] <= 0.05) & (ends[:, 1] >= 0.05)).mean()),
        "accuracy": float(np.mean([span.low <= 0.5 <= span.high for span in spans if span])),
    }


def _write(folder: Path, options: argparse.Namespace, seed: int) -> Path:
    folder.mkdir()
    settings = {"environment": "qwq/MathTool-v0", "benchmark": "gsm8k", "samples": options.samples}
    (folder / "settings.json").write_text(json.dumps(settings))
    chance = random.Random(seed)
    prompt, sampled = 100, options.tokens
    ids = [chance.randrange(150_000) for _ in range(prompt + sampled)]
    with EpisodeStore(folder / "episodes.jsonl") as store:
        for task in range(options.tasks):
            ability = random.Random(task).random()
            for sample in range(options.samples):
                store.append(
                    Trajectory(
                        task_id=f"task/{task}",
                        episode=f"evaluation.{task}.{sample}",
                        seed=task * options.samples + sample,
                        ids=ids,
                        prompt_length=prompt,
                        mask=[1] * sampled,
                        logprobs=[-0.123456] * sampled,
                        spans=[Span(0, prompt, "task"), Span(prompt, len(ids), "answer")],
                        outcome=Outcome.answered(),
                        reward=float(chance.random() < ability),
                        answer="The answer is \\boxed{7}.",
                    )
                )
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
