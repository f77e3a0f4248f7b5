"""A comparison for people and programs: text or Markdown, JSON, a picture of bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from qwq_env.evaluation.comparison import Comparison, Pair, RunResult
from qwq_env.evaluation.published import PUBLISHED
from qwq_env.evaluation.statistics import Flip

_MOST_FLIPS: Final = 10
_COLOURS: Final = ("#c0392b", "#6c3483", "#1f618d", "#117a65", "#b9770e", "#5d6d7e", "#a9b2bb")


def markdown(comparison: Comparison, *, published: bool = True) -> str:
    """Return tables in Markdown, which are also what is read on a terminal."""
    parts = [_scores(comparison)]
    if comparison.pairs:
        parts.append(_differences(comparison.pairs))
        parts += [_flips(pair) for pair in comparison.pairs if pair.difference]
    if published and (figures := _published(comparison)):
        parts.append(figures)
    return "\n\n".join(filter(None, parts))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return all of it as JSON: scores, differences with every flipped task, published figures."""
    return {
        "runs": {
            run.name: {name: _result(result) for name, result in run.results.items()}
            for run in comparison.runs
        },
        "pairs": [
            {
                **pair._asdict(),
                "difference": None if pair.difference is None else _difference(pair),
            }
            for pair in comparison.pairs
        ],
        "published": {
            model: {
                name: figures[name]._asdict() for name in comparison.benchmarks if name in figures
            }
            for model, figures in PUBLISHED.items()
        },
    }


def draw_bars(comparison: Comparison, path: Path) -> None:
    """Draw a group of bars a benchmark: the runs with their intervals, then published figures."""
    import matplotlib  # noqa: PLC0415 - slow to import, and only needed here

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    names = list(comparison.benchmarks)
    bars = _bars(comparison)
    figure, axes = pyplot.subplots(figsize=(max(7, 2.6 * len(names)), 4.6), layout="constrained")
    width = 0.84 / len(bars)
    # A group without all of them stands in the middle of its place.
    present = [
        [place for place, (_, values) in enumerate(bars) if values[at] is not None]
        for at in range(len(names))
    ]
    for index, (label, values) in enumerate(bars):
        ours = index < len(comparison.runs)
        places = [at for at, value in enumerate(values) if value is not None]
        known = [value for value in values if value is not None]
        x = [at + (present[at].index(index) - (len(present[at]) - 1) / 2) * width for at in places]
        drawn = axes.bar(
            x,
            [value for value, _, _ in known],
            0.92 * width,
            yerr=[[low for _, low, _ in known], [high for _, _, high in known]] if ours else None,
            capsize=3,
            label=label,
            color=_COLOURS[index % len(_COLOURS)],
            hatch=None if ours else "//",
            alpha=1.0 if ours else 0.55,
            edgecolor="white",
        )
        tops = [f"{value:.1f}" for value, _, _ in known]
        axes.bar_label(drawn, tops, padding=2, fontsize=min(8, 40 * width), rotation=0)
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="accuracy, %", ylim=(0, 112), yticks=range(0, 101, 20))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


_Bar = tuple[float, float, float]
"""A height in percent, and how far its interval reaches below and above."""


def _bars(comparison: Comparison) -> list[tuple[str, list[_Bar | None]]]:
    """Return the runs, then the published models, each with a bar a benchmark."""
    names = comparison.benchmarks
    bars: list[tuple[str, list[_Bar | None]]] = [
        (run.name, [_percents(run.results.get(name)) for name in names]) for run in comparison.runs
    ]
    for model, figures in PUBLISHED.items():
        found = [figures.get(name) for name in names]
        if any(found):
            heights = [None if each is None else (each.value, 0.0, 0.0) for each in found]
            bars.append((f"{model} (published)", heights))
    return bars


def _percents(result: RunResult | None) -> _Bar | None:
    if result is None or (mean := result.accuracy) is None:
        return None
    interval, value = result.interval, mean.value
    if interval is None:
        return 100 * value, 0.0, 0.0
    low, high = max(interval.low, 0.0), min(interval.high, 1.0)
    return 100 * value, max(0.0, 100 * (value - low)), max(0.0, 100 * (high - value))


def _scores(comparison: Comparison) -> str:
    rows = [
        [name, *(_cell(run.results.get(name)) for run in comparison.runs)]
        for name in comparison.benchmarks
    ]
    return _table(["accuracy, %", *(run.name for run in comparison.runs)], rows)


def _cell(result: RunResult | None) -> str:
    if result is None:
        return "-"
    mean = result.accuracy
    notes = [
        f"{count} {what}"
        for count, what in ((result.lost, "lost"), (result.undecided, "undecided"))
        if count
    ]
    note = f" ({', '.join(notes)})" if notes else ""
    if mean is None:
        return f"none{note}"
    error = "" if mean.error is None else f" ± {100 * mean.error:.1f}"
    return f"{100 * mean.value:.1f}{error}{note}"


def _differences(pairs: Sequence[Pair]) -> str:
    rows = []
    for pair in pairs:
        found = pair.difference
        names = [pair.benchmark, f"{pair.second} - {pair.first}"]
        if found is None:
            rows.append([*names, "no task in common", "", "", "", ""])
            continue
        error = "" if found.error is None else f" ± {100 * found.error:.1f}"
        span = found.interval
        interval = "" if span is None else f"{100 * span.low:+.1f} to {100 * span.high:+.1f}"
        flips = f"+{len(found.gained)} -{len(found.lost)}"
        value = f"{100 * found.value:+.1f}{error}"
        rows.append([*names, value, interval, flips, f"{found.p_value:.3g}", str(found.tasks)])
    columns = ["benchmark", "difference of", "points", "95 %", "flipped", "McNemar p", "tasks"]
    notes = [
        f"{pair.benchmark}: {pair.first} and {pair.second} are unlike in {pair.warning}"
        for pair in pairs
        if pair.warning
    ]
    return "\n".join([_table(columns, rows), *(["", *notes] if notes else [])])


def _flips(pair: Pair) -> str:
    assert pair.difference is not None
    lines = []
    for what, flips in (("gained", pair.difference.gained), ("lost", pair.difference.lost)):
        if flips:
            shown = ", ".join(map(_flip, flips[:_MOST_FLIPS]))
            more = f" and {len(flips) - _MOST_FLIPS} more" if len(flips) > _MOST_FLIPS else ""
            lines.append(f"{pair.benchmark}, {what} by {pair.second}: {shown}{more}")
    return "\n".join(lines)


def _flip(flip: Flip) -> str:
    return f"{flip.task} ({flip.first:.2g} to {flip.second:.2g})"


def _published(comparison: Comparison) -> str:
    rows, sources = [], []
    for model, figures in PUBLISHED.items():
        known = [figures.get(name) for name in comparison.benchmarks]
        if any(known):
            rows.append([model, *("-" if f is None else f"{f.value:.1f}" for f in known)])
            sources += [f"{model}: {f.source}" for f in known if f is not None]
    if not rows:
        return ""
    table = _table(["published, %", *comparison.benchmarks], rows)
    return "\n".join([table, "", *dict.fromkeys(sources)])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[each.replace("|", "\\|") for each in row] for row in (columns, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (each.ljust(width) for each, width in zip(row, widths, strict=True))
        return f"| {' | '.join([first, *rest])} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def _result(result: RunResult) -> dict[str, Any]:
    counts = {"lost": result.lost, "undecided": result.undecided}
    samples = sum(map(len, result.rights.values()))
    return {
        "accuracy": result.accuracy,
        "interval": result.interval,
        "tasks": len(result.rights),
        "samples": samples,
        **counts,
        "preset": result.settings.get("preset"),
    }


def _difference(pair: Pair) -> dict[str, Any]:
    assert pair.difference is not None
    flips = {
        name: [flip._asdict() for flip in getattr(pair.difference, name)]
        for name in ("gained", "lost")
    }
    return {**pair.difference._asdict(), **flips}
