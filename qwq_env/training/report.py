"""What a run leaves for a person: ten episodes, a curve, a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from qwq_env.dialect.codec import TokenCodec
from qwq_env.text.characters import printable
from qwq_env.trajectory import Trajectory

_STYLES = {
    "task": "cyan",
    "thinking": "dim",
    "answer": "default",
    "tool": "yellow",
    "user": "magenta",
}


def print_episodes(
    console: Console, trajectories: Sequence[Trajectory], codec: TokenCodec, count: int
) -> None:
    """Print `count` of the episodes, the question and what followed, coloured by author."""
    for trajectory in trajectories[:count]:
        text = Text(_question(codec.decode(trajectory.prompt_ids)) + "\n", style=_STYLES["task"])
        for span in trajectory.spans[1:]:
            words = printable(codec.decode(trajectory.ids[span.start : span.end]))
            text.append(words, style=_STYLES[span.author])
        reward = "lost" if trajectory.reward is None else f"{trajectory.reward:g}"
        # A text of its own: in a plain title, Rich reads brackets as markup, links included.
        title = _line(f"{trajectory.task_id}  reward {reward}  ({trajectory.outcome.reason})")
        console.print(Panel(text, title=title, title_align="left"), highlight=False)


def _line(text: str) -> Text:
    return Text(printable(text, lines=False))


def _question(prompt: str) -> str:
    """Return what the user says in the prompt; the tools' schemas would bury it."""
    return printable(prompt.rsplit("user\n", 1)[-1].split("<|im_end|>", 1)[0].strip())


def print_table(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the run's result as a small table."""
    title = _line(f"{summary['name']}, seed {summary['seed']}")
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("cold start", "trained", "trained, greedy"):
        table.add_column(column, justify="right")
    rows = [
        ("accuracy", "accuracy_cold", "accuracy_trained", "accuracy_trained_greedy"),
        ("tool call rate", "tool_call_rate_cold", "tool_call_rate_trained", None),
    ]
    for label, *keys in rows:
        cells = ["" if key is None else f"{summary[key]:.3f}" for key in keys]
        table.add_row(label, *cells)
    for name, rates in summary.get("accuracy_by_member", {}).items():
        cells = ["" if rate is None else f"{rate:.3f}" for rate in rates.values()]
        table.add_row(_line(f"  in {name}"), *cells)
    console.print(table)
    seconds = ", ".join(f"{phase} {value:.0f} s" for phase, value in summary["seconds"].items())
    console.print(f"{summary['steps']} steps; {seconds}", highlight=False)


def print_stages(console: Console, summary: Mapping[str, Any]) -> None:
    """Print the held-out accuracies of a run of several stages, before each and after it."""
    table = Table(title=_line(f"{summary['name']}, seed {summary['seed']}"), title_justify="left")
    table.add_column("")
    rows: dict[str, list[float | None]] = {}
    for place, (name, stage) in enumerate(summary["stages"].items()):
        if not place:
            table.add_column("at first", justify="right")
        table.add_column(_line(f"after {name}"), justify="right")
        found = {"accuracy": {"cold": stage["accuracy_cold"], "trained": stage["accuracy_trained"]}}
        for label, rates in (found | stage.get("accuracy_by_member", {})).items():
            row = rows.setdefault(label, [rates["cold"]])
            row.append(rates["trained"])
    for label, rates in rows.items():
        table.add_row(_line(label), *("" if rate is None else f"{rate:.3f}" for rate in rates))
    console.print(table)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a `metrics.jsonl`; none if there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as lines:
        return [json.loads(line) for line in lines]


def played_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows that say what was played: of the steps that learn from a batch the first."""
    return [row for row in rows if "reward" in row]


def draw_curve(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], path: Path) -> None:
    """Draw reward and tool use over the steps, with the held-out accuracy at both ends."""
    import matplotlib  # noqa: PLC0415 - slow to import, and only needed here

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    last = max((row["step"] for row in rows), default=0)
    rows = played_rows(rows)
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    steps = [row["step"] for row in rows]
    # With dynamic sampling these are the groups that differ, of which solved ones are none.
    replaced = any("dynamic/replaced" in row for row in rows)
    paid = "mean reward of what was learned from" if replaced else "mean reward"
    axes.plot(steps, [row["reward"] for row in rows], label=paid, color="#2a7ab0")
    rate = [row.get("episode/tool_call_rate", float("nan")) for row in rows]
    axes.plot(steps, rate, label="episodes with a tool's result", color="#c98a1b", linewidth=1)
    ends = [0, last]
    heldout = [summary["accuracy_cold"], summary["accuracy_trained"]]
    for step, rates in summary.get("accuracy_by_step", {}).items():
        ends.insert(-1, int(step))
        heldout.insert(-1, rates["accuracy"])
    axes.plot(ends, heldout, "o", label="held-out accuracy", color="#2e8b57")
    axes.set(xlabel="step", ylabel="rate", ylim=(-0.02, 1.02), title=summary["name"])
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
