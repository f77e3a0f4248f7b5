"""Curves of the metrics, and what became of the tool calls of all episodes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from qwq_env.checks import is_number
from qwq_env.rollout.stored import StoredRun
from qwq_env.viewer.episodes import Seen


def report_of(episodes: Sequence[Seen], runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Return curves, tools and the requests by what became of them."""
    counts: Counter[str] = Counter()
    for seen in episodes:
        counts.update(seen.trajectory.counts)
    curves = _curves(runs) or _rewards(episodes)
    return {"curves": curves, "tools": _tools(episodes), "counts": counts.most_common()}


def _curves(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """Return each number of the metrics by step; where a run went on, the later row holds."""
    by_name: dict[str, dict[float, float | None]] = defaultdict(dict)
    for run in runs:
        before = f"{run.name}/" if len(runs) > 1 else ""
        for row in run.metrics:
            step = row.get("step")
            if not is_number(step) or not math.isfinite(step):
                continue
            for name, value in row.items():
                if name != "step" and is_number(value):
                    by_name[before + name][step] = value if math.isfinite(value) else None
    curves = []
    for name, points in by_name.items():
        steps = sorted(points)
        curves.append({"name": name, "steps": steps, "values": [points[step] for step in steps]})
    return [curve for curve in curves if any(v is not None for v in curve["values"])]


def _rewards(episodes: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return the mean reward by step, where nothing else says it."""
    paid: dict[int, list[float]] = defaultdict(list)
    for seen in episodes:
        if seen.stored.step is not None and seen.trajectory.reward is not None:
            paid[seen.stored.step].append(seen.trajectory.reward)
    steps = sorted(paid)
    if not steps:
        return []
    return [{"name": "reward", "steps": steps, "values": [fmean(paid[step]) for step in steps]}]


def _tools(episodes: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return the health of each tool, the most called first."""
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, segments in (block for seen in episodes for block in seen.said):
        for kind, _, *more in segments:
            if kind == "result" and more and more[0].get("name"):
                results[more[0]["name"]].append(more[0])
    return [
        _health(name, results[name]) for name in sorted(results, key=lambda n: -len(results[n]))
    ]


def _health(name: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    status = Counter(result.get("status", "ok") for result in results)
    kinds = Counter(result["error"] for result in results if result.get("error"))
    seconds = [s for result in results if is_number(s := result.get("seconds"))]
    median, p95 = np.percentile(seconds, [50, 95]).tolist() if seconds else (None, None)
    return {
        "name": name,
        "calls": len(results),
        "ok": status["ok"],
        "policy": status["policy_error"],
        "tool": status["tool_error"],
        "median": median,
        "p95": p95,
        "kinds": kinds.most_common(5),
    }
