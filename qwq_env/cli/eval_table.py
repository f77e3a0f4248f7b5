"""What `qwq eval` prints when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qwq_env.evaluation.folder import EvaluationFolder

if TYPE_CHECKING:
    from qwq_env.evaluation.statistics import Mean
    from qwq_env.evaluation.summary import Summary

_MOST_NAMED: Final = 10


def summary_table(
    summary: Summary, folder: EvaluationFolder, told: Mapping[str, Any] | None = None
) -> str:
    """Return the numbers for a terminal; of a benchmark, `told` is its `description`."""
    lines = [
        *(() if told is None else _protocol_lines(told)),
        f"accuracy    {_mean(summary.accuracy)}",
        *_sample_lines(summary),
        *(f"  in {name:<8} {_mean(mean)}" for name, mean in summary.groups.items()),
        *(f"  in {name:<8} {_mean(mean)}" for name, mean in summary.members.items()),
        f"reward      {_mean(summary.reward)}",
        f"episodes    {summary.episodes} of {summary.tasks} tasks",
        f"truncated   {_counts(summary.truncated)}",
        f"lost        {_counts(summary.lost)}",
        *(f"  {name}" for name in summary.lost_episodes[:_MOST_NAMED]),
    ]
    if summary.undecided:
        lines.append(f"undecided   {len(summary.undecided)}: in no mean, by no judge's word wrong")
        lines += [f"  {name}" for name in summary.undecided[:_MOST_NAMED]]
    if summary.tool_call_rate is not None:
        lines.append(f"call a tool {summary.tool_call_rate:.3f}")
    sampled = summary.usage.get("sampled_tokens") or summary.sampled_tokens
    if sampled:
        cost = "" if summary.cost is None else f", cost {summary.cost:,.2f}"
        lines.append(f"tokens      {sampled:,} sampled{cost}")
    if summary.replies:
        lines.append(f"replies     {_named(summary.replies)}")
    if summary.lost:
        lines.append("the same command with --resume plays the lost ones again")
    return "\n".join([*lines, f"written to  {folder.path}/"])


def _protocol_lines(told: Mapping[str, Any]) -> list[str]:
    other = ", ".join(f"{name} {value}" for name, value in told["other_than_preset"].items())
    of = "" if told["published_tasks"] in (None, told["tasks"]) else (
        f" of {told['published_tasks']} published"
    )  # fmt: skip
    left_out = f"; {told['left_out']} left out" if told["left_out"] else ""
    lines = [
        f"{told['name']:<11} {told['title']}",
        f"preset      {told['preset']}" + (f", but for {other}" if other else ""),
        f"data        {told['data']}, {told['tasks']} tasks{of}{left_out}",
        f"sha256      {told['sha256']}",
    ]
    return [*lines, *(f"{name:<11} {told[name]}" for name in ("judge", "metric", "source"))]


def _sample_lines(summary: Summary) -> list[str]:
    lines = []
    if summary.interval is not None:
        low, high = summary.interval
        lines.append(f"  95 %      {low:.4f} to {high:.4f}")
    if summary.passes:
        most = max(summary.passes)
        lines += [
            f"  avg@{most:<6}{_mean(summary.average)}",
            f"  pass@{most:<5}{_mean(summary.passes[most])}",
        ]
        if summary.consensus is not None:
            lines.append(f"  cons@{most:<5}{_mean(summary.consensus)}")
    return [*lines, *(f"  {name:<9} {_mean(mean)}" for name, mean in summary.measures.items())]


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "none: every episode was lost"
    error = "" if mean.error is None else f" ± {mean.error:.4f} (standard error, by task)"
    return f"{mean.value:.4f}{error}"


def _counts(counts: Mapping[str, int]) -> str:
    named = _named(counts)
    return f"{sum(counts.values())}" + (f" ({named})" if named else "")


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
