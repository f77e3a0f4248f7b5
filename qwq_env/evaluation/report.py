"""`report.html`: what an evaluation came to, on one page that needs nothing else.

Scores with their intervals, the parts of a benchmark, lengths and tool use of what was right and
wrong, the episodes most worth reading, settings and versions. What a model, a tool or a file wrote
is text on it, whatever it spells. The page has no script and loads nothing.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from statistics import fmean, median
from typing import Any, Final

from qwq_env._version import __version__
from qwq_env.dialect.codec import TokenCodec
from qwq_env.evaluation.folder import EvaluationFolder
from qwq_env.evaluation.html_parts import (
    details,
    histogram,
    page,
    scale,
    section,
    table,
    text,
    transcript,
)
from qwq_env.evaluation.statistics import Interval, Mean, mean_interval
from qwq_env.evaluation.summary import Summary
from qwq_env.evaluation.telling import failed_calls, sampled_tokens, telling_episodes
from qwq_env.files.atomic import write_whole
from qwq_env.trajectory import Trajectory

_DISTRIBUTIONS: Final = (
    "gymnasium", "numpy", "torch", "transformers", "vllm", "math-verify", "sympy", "datasets",
)  # fmt: skip
_MOST_NAMED: Final = 20


def write_report(
    folder: EvaluationFolder,
    summary: Summary,
    trajectories: Sequence[Trajectory],
    codec: TokenCodec | None = None,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write the page into the folder. A `codec` reads episodes of token ids; of a benchmark, `told`
    is its `description`."""
    settings = json.loads(folder.settings.read_text(encoding="utf-8"))
    title = str(settings.get("benchmark") or settings["environment"])
    parts = [
        _headline(title, summary, told),
        section("Scores", _scores(summary)),
        section("Parts", _parts(summary)),
        section("Right and wrong", _right_and_wrong(trajectories)),
        section("Telling episodes", _telling(trajectories, codec)),
        section("In no mean", _left_out(summary)),
        section("Settings", _settings(settings, told)),
        section("Versions", table((), [[name, version] for name, version in _versions().items()])),
    ]
    write_whole(folder.report, page(f"{title} - evaluation", parts))


def _headline(title: str, summary: Summary, told: Mapping[str, Any] | None) -> str:
    mean, span = summary.accuracy, summary.interval
    value = "none" if mean is None else f"{100 * mean.value:.1f} %"
    reach = "" if span is None else f"95 %: {100 * span.low:.1f} to {100 * span.high:.1f}"
    lost, sampled = sum(summary.lost.values()), summary.usage.get("sampled_tokens")
    facts = [
        f"{summary.episodes} episodes of {summary.tasks} tasks",
        f"{lost} lost, {len(summary.undecided)} undecided" if lost or summary.undecided else "",
        f"{sum(summary.truncated.values())} cut by a limit",
        f"{sampled:,} tokens" if sampled else "",
        "" if summary.cost is None else f"cost {summary.cost:,.2f}",
    ]  # fmt: skip
    whose = "" if told is None else _protocol(told)
    return (
        f"<header><h1>{text(title)}</h1><p>{text(whose)}</p>"
        f"<p class=figure><b>{text(value)}</b> <span>{text(reach)}</span></p>"
        f"<p>{text('; '.join(filter(None, facts)))}</p></header>"
    )


def _protocol(told: Mapping[str, Any]) -> str:
    """Say how it was played: as the preset has it, but for what was set otherwise."""
    other = ", ".join(f"{name} {value}" for name, value in told["other_than_preset"].items())
    but_for = f", but for {other}" if other else ""
    return f"{told['title']}, preset {told['preset']}{but_for}; {told['metric']}"


def _scores(summary: Summary) -> str:
    tasks, accuracy = summary.tasks, summary.accuracy
    named: list[tuple[str, Mean | None]] = [
        ("accuracy", accuracy),
        ("avg over tasks", _other_than(accuracy, summary.average)),
        *((f"pass@{k}", mean) for k, mean in summary.passes.items()),
        (f"cons@{max(summary.passes, default=1)}", summary.consensus if summary.passes else None),
        *summary.measures.items(),
        ("reward", _other_than(accuracy, summary.reward)),
    ]
    rows = [_score_row(name, mean, tasks) for name, mean in named if mean is not None]
    return table(("", "mean", "± error", "95 %", ""), rows)


def _other_than(accuracy: Mean | None, mean: Mean | None) -> Mean | None:
    """Return a mean, None where it says what the accuracy says already."""
    if accuracy is None or mean is None:
        return mean
    return None if math.isclose(mean.value, accuracy.value, abs_tol=1e-9) else mean


def _parts(summary: Summary) -> str:
    named = {**summary.groups, **summary.members}
    known = {name: mean for name, mean in named.items() if mean is not None}
    rows = [_score_row(name, mean, 0) for name, mean in known.items()]
    return table(("", "mean", "± error", "± 2 errors", ""), rows) if rows else ""


def _score_row(name: str, mean: Mean, tasks: int) -> list[str]:
    """Return the cells of a mean; its interval by Student's t, or of parts by two errors."""
    if mean.error is None:
        return [text(name), f"{100 * mean.value:.1f}", "", "", scale(mean.value, None)]
    reach = 2 * mean.error
    span = mean_interval(mean, tasks) if tasks > 1 else None
    span = span or Interval(mean.value - reach, mean.value + reach)
    low, high = max(0.0, span.low), min(1.0, span.high)
    numbers = [f"{100 * mean.value:.1f}", f"{100 * mean.error:.1f}"]
    return [text(name), *numbers, f"{100 * low:.1f} – {100 * high:.1f}", scale(mean.value, span)]


def _right_and_wrong(trajectories: Sequence[Trajectory]) -> str:
    scored = [t for t in trajectories if t.reward is not None]
    sides = {
        "right": [t for t in scored if t.is_right],
        "wrong": [t for t in scored if not t.is_right],
    }
    rows = [
        ["episodes", *(str(len(side)) for side in sides.values())],
        *(
            [name, *(_spread(side, measure) for side in sides.values())]
            for name, measure in _MEASURED.items()
        ),
        *(
            [name, *(_share(side, holds) for side in sides.values())]
            for name, holds in _SHARED.items()
        ),
    ]
    lengths = {name: [sampled_tokens(t) for t in side] for name, side in sides.items()}
    return table(("", "right", "wrong"), rows) + histogram("sampled tokens", lengths)


_MEASURED: Final[Mapping[str, Callable[[Trajectory], float]]] = {
    "sampled tokens": sampled_tokens,
    "turns": lambda trajectory: trajectory.turns,
    "tool calls": lambda trajectory: trajectory.tool_calls,
}


_SHARED: Final[Mapping[str, Callable[[Trajectory], bool]]] = {
    "cut by a limit": lambda trajectory: trajectory.outcome.truncated,
    "called a tool": lambda trajectory: trajectory.tool_calls > 0,
    "a call failed": lambda trajectory: failed_calls(trajectory) > 0,
}


def _spread(side: Sequence[Trajectory], measure: Callable[[Trajectory], float]) -> str:
    values = [measure(each) for each in side]
    if not values:
        return "–"
    return f"{fmean(values):,.1f} (median {median(values):,.0f}, most {max(values):,.0f})"


def _share(side: Sequence[Trajectory], holds: Callable[[Trajectory], bool]) -> str:
    return f"{100 * fmean([holds(each) for each in side]):.1f} %" if side else "–"


def _telling(trajectories: Sequence[Trajectory], codec: TokenCodec | None) -> str:
    found = []
    for trajectory, why in telling_episodes(trajectories):
        reward = "none" if trajectory.reward is None else f"{trajectory.reward:g}"
        head = f"{trajectory.task_id}: {why}; reward {reward}; {trajectory.episode}"
        known = [
            ["reference", _shown(trajectory.reference)],
            ["answer", text(trajectory.answer, most=1_000)],
            *([text(name), text(_shown(score))] for name, score in trajectory.scores.items()),
        ]
        found.append(details(head, transcript(trajectory, codec) + table((), known)))
    return "".join(found)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return text(value, most=1_000)
    return text(json.dumps(value, default=str), most=1_000)


def _left_out(summary: Summary) -> str:
    rows = [
        *(["lost", text(f"{reason}: {count}")] for reason, count in summary.lost.items()),
        *(["", text(each)] for each in summary.lost_episodes[:_MOST_NAMED]),
        *(["undecided", text(each)] for each in summary.undecided[:_MOST_NAMED]),
    ]
    odd = [["odd replies", text(f"{kind}: {count}")] for kind, count in summary.replies.items()]
    return table((), [*rows, *odd]) if rows or odd else ""


def _settings(settings: Mapping[str, Any], told: Mapping[str, Any] | None) -> str:
    named = {**(told or {}), **settings}
    rows = [
        [text(name), _shown(value)] for name, value in named.items() if value not in (None, {}, "")
    ]
    return table((), rows)


def _versions() -> dict[str, str]:
    found = {"qwq-env": __version__, "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
