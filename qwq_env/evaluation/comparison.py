"""Runs held against each other, task by task, and against published figures.

A run is the folder of an evaluation (`EvaluationFolder`), or a folder that holds several, of one
policy on several benchmarks. Only what a comparison needs is read of each episode.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.checks import is_number
from qwq_env.errors import UsageError, brief
from qwq_env.evaluation.benchmarks import BENCHMARKS, find_benchmark
from qwq_env.evaluation.statistics import (
    Difference,
    Interval,
    Mean,
    balanced_mean,
    clustered_mean,
    mean_interval,
    paired_difference,
)
from qwq_env.files.json_file import read_json_file
from qwq_env.files.jsonl import read_objects
from qwq_env.short_rows import head_in_full


class RunResult(NamedTuple):
    """A policy on one benchmark: whether each sample of a task was right (of a benchmark with
    partial scores, its score), by the task's id.

    `lost` and `undecided` count the episodes that are in no mean. `groups` are those of the tasks
    of a balanced benchmark, None for any other.
    """

    benchmark: str
    rights: Mapping[str, Sequence[float]]
    lost: int
    undecided: int
    settings: Mapping[str, Any]
    groups: Mapping[str, str] | None = None

    @property
    def accuracy(self) -> Mean | None:
        """The mean over all samples, as the benchmark takes it, with its error by task."""
        pairs = [(value, task) for task, values in self.rights.items() for value in values]
        values, tasks = [value for value, _ in pairs], [task for _, task in pairs]
        if self.groups is None:
            return clustered_mean(values, tasks)
        return balanced_mean(values, tasks, [self.groups[task] for task in tasks])

    @property
    def interval(self) -> Interval | None:
        """Where the accuracy lies, in 95 of 100 evaluations."""
        mean = self.accuracy
        return None if mean is None else mean_interval(mean, len(self.rights))


class Run(NamedTuple):
    """The results of one policy by benchmark, and what it is called."""

    name: str
    results: Mapping[str, RunResult]


class Pair(NamedTuple):
    """Two runs on one benchmark: the second against the first. `warning` says what is unlike."""

    benchmark: str
    first: str
    second: str
    difference: Difference | None
    warning: str = ""


class Comparison(NamedTuple):
    """Runs, their benchmarks in order, and each run but the first against the first."""

    runs: Sequence[Run]
    benchmarks: Sequence[str]
    pairs: Sequence[Pair]


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read runs and compare them. Raises `UsageError` for a folder that holds no evaluation."""
    names = _names(paths)
    runs = [_read_run(path, name) for path, name in zip(paths, names, strict=True)]
    found = dict.fromkeys(name for run in runs for name in run.results)
    benchmarks = [name for name in BENCHMARKS if name in found]
    benchmarks += [name for name in found if name not in BENCHMARKS]
    pairs = [
        _pair(benchmark, runs[0], other)
        for benchmark in benchmarks
        for other in runs[1:]
        if benchmark in runs[0].results and benchmark in other.results
    ]
    return Comparison(runs, benchmarks, pairs)


def read_result(folder: Path) -> RunResult:
    """Read the folder of one evaluation; of several rows of an episode, the last one counts."""
    settings = read_settings(folder)
    name = settings.get("benchmark")
    benchmark = find_benchmark(name) if name in BENCHMARKS else None
    partial = benchmark is not None and benchmark.partial
    last: dict[str, tuple[str, Any, str]] = {}
    groups: dict[str, str] = {}
    path = folder / "episodes.jsonl"
    for number, written in read_objects(path, constants=True, appended=True):
        row = head_in_full(written)
        task, episode, outcome = row.get("task_id"), row.get("episode"), row.get("outcome")
        reason = outcome.get("reason") if isinstance(outcome, dict) else None
        if not (isinstance(task, str) and isinstance(episode, str) and isinstance(reason, str)):
            raise UsageError(f"{path}:{number}: not an episode: {brief(row)}")
        reward: Any = row.get("reward")
        right = row.get("right")
        if not partial and is_number(reward) and math.isfinite(reward):
            reward = float(reward >= 1.0 if right is None else bool(right))
        last[episode] = task, reward, reason
        groups[task] = str(row.get("group") or "")
    rights: defaultdict[str, list[float]] = defaultdict(list)
    lost = undecided = 0
    for task, reward, reason in last.values():
        if is_number(reward) and math.isfinite(reward):
            rights[task].append(float(reward))
        elif reason == "undecided" or reward is not None:
            undecided += 1
        else:
            lost += 1
    balanced = groups if benchmark is not None and benchmark.balanced else None
    return RunResult(_benchmark(settings), rights, lost, undecided, settings, balanced)


def read_settings(folder: Path) -> Mapping[str, Any]:
    """Read what an evaluation was asked to be. Raises `UsageError` for a folder of none."""
    file = folder / "settings.json"
    try:
        settings = read_json_file(file)
    except OSError as error:
        raise UsageError(f"run: {file}: {error.strerror}; expected an evaluation") from None
    if settings is None:
        raise UsageError(f"run: {file} is damaged; expected the settings of an evaluation")
    return settings


def _benchmark(settings: Mapping[str, Any]) -> str:
    return str(settings.get("benchmark") or settings.get("environment") or "evaluation")


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' names, or what tells them apart: the ends of their paths."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError("run: the same folder twice; expected different ones")


def _read_run(path: Path, name: str) -> Run:
    if not path.is_dir():
        raise UsageError(f"run: {path} is no folder; expected one that qwq eval wrote")
    folders = [path] if (path / "settings.json").is_file() else sorted(path.iterdir())
    found = [read_result(each) for each in folders if (each / "settings.json").is_file()]
    if not found:
        raise UsageError(f"run: {path} holds no evaluation; expected settings.json in it")
    results: dict[str, RunResult] = {}
    for result in found:
        if result.benchmark in results:
            raise UsageError(f"run: {path} holds {result.benchmark} twice; name the folders")
        results[result.benchmark] = result
    return Run(name, results)


_UNLIKE: Final = (
    "data_sha256", "tasks_sha256", "preset", "samples", "tools", "temperature", "split",
    "difficulty",
)  # fmt: skip
"""Settings that a reader has to know of where they differ."""


def _pair(benchmark: str, first: Run, second: Run) -> Pair:
    ours, theirs = first.results[benchmark], second.results[benchmark]
    unlike = [
        f"{name}: {ours.settings.get(name)} and {theirs.settings.get(name)}"
        for name in _UNLIKE
        if ours.settings.get(name) != theirs.settings.get(name)
    ]
    only = len(ours.rights.keys() ^ theirs.rights.keys())
    unlike += [f"{only} tasks in one of them only"] if only else []
    difference = paired_difference(ours.rights, theirs.rights, groups=ours.groups)
    return Pair(benchmark, first.name, second.name, difference, "; ".join(unlike))
