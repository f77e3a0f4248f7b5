"""A comparison as a page: each run's scores with their intervals, what differs, what is published.

As `report.html` it has no script, loads nothing, and what others wrote is text on it.
"""

from __future__ import annotations

from collections.abc import Iterator

from qwq_env.evaluation.comparison import Comparison, Pair, RunResult
from qwq_env.evaluation.html_parts import details, page, scale, section, table, text
from qwq_env.evaluation.published import PUBLISHED
from qwq_env.evaluation.statistics import Flip


def comparison_page(comparison: Comparison, *, published: bool = True) -> str:
    """Return the whole page."""
    parts = [f"<header><h1>{text(' and '.join(run.name for run in comparison.runs))}</h1></header>"]
    for name in comparison.benchmarks:
        rows = [_row(run.name, run.results[name]) for run in comparison.runs if name in run.results]
        if published:
            rows += _published(name)
        scores = table(("", "%", "± error", "tasks", "in no mean; source", ""), rows)
        differences = "".join(_pair(pair) for pair in comparison.pairs if pair.benchmark == name)
        parts.append(section(name, scores + differences))
    return page("comparison", parts)


def _row(name: str, result: RunResult) -> list[str]:
    mean, left_out = result.accuracy, f"{result.lost} lost, {result.undecided} undecided"
    if mean is None:
        return [text(name), "none", "", "0", left_out, ""]
    error = "" if mean.error is None else f"{100 * mean.error:.1f}"
    tasks = str(len(result.rights))
    picture = scale(mean.value, result.interval)
    return [text(name), f"{100 * mean.value:.1f}", error, tasks, left_out, picture]


def _published(benchmark: str) -> Iterator[list[str]]:
    for model, figures in PUBLISHED.items():
        if (figure := figures.get(benchmark)) is not None:
            told = [f"{figure.value:.1f}", "", "", text(figure.source)]
            yield [text(f"{model} (published)"), *told, scale(figure.value / 100, None)]


def _pair(pair: Pair) -> str:
    found = pair.difference
    names = f"{pair.second} - {pair.first}"
    warning = f"<p>Unlike in {text(pair.warning)}</p>" if pair.warning else ""
    if found is None:
        return f"<p>{text(names)}: no task in common</p>{warning}"
    span = found.interval
    reach = "" if span is None else f" (95 %: {100 * span.low:+.1f} to {100 * span.high:+.1f})"
    told = f"{names}: {100 * found.value:+.1f} points{reach}, McNemar p = {found.p_value:.3g}"
    flips = "".join(
        details(
            f"{len(each)} task{'s' * (len(each) > 1)} {what}",
            f"<p>{', '.join(map(_flip, each))}</p>",
        )
        for what, each in (("gained", found.gained), ("lost", found.lost))
        if each
    )
    return f"<p>{text(told)}</p>{warning}{flips}"


def _flip(flip: Flip) -> str:
    return text(f"{flip.task} ({flip.first:.2g} to {flip.second:.2g})")
