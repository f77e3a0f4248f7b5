"""What `qwq watch` shows of a run: how far it is, curves, the health of the tools, new episodes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from qwq_env.rollout.stored import StoredEpisode, StoredRun
from qwq_env.text.characters import printable

_BAR: Final = 20
_BARS: Final = "▁▂▃▄▅▆▇█"
_CURVES: Final = (
    ("reward", "reward"), ("tool use", "episode/tool_call_rate"), ("turns", "episode/turns"),
    ("tokens", "episode/tokens/policy"), ("truncated", "episode/truncated"),
    ("lost", "episode/lost"), ("entropy", "entropy"), ("grad norm", "grad_norm"),
    ("step seconds", "step_time"),
)  # fmt: skip
"""What is drawn of `metrics.jsonl`, and its name there."""
_RECENT: Final = 256
"""Episodes by which the tools and the outcomes are judged."""
_RATED: Final = 30.0
"""Seconds over which episodes are counted for their rate."""


class Dashboard:
    """The state of a run as it is read on; `refresh` reads what is new, `frame` draws it."""

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self._begin()

    def _begin(self) -> None:
        self.count = self.lost = 0
        self.recent: deque[StoredEpisode] = deque(maxlen=_RECENT)
        self.rewards: list[float] = []
        self.phases: Counter[str] = Counter()
        self.metrics: list[dict[str, Any]] = []
        self._arrived: deque[tuple[float, int]] = deque()

    def refresh(self) -> None:
        """Read what was written since the last time."""
        episodes = self.run.news()
        if episodes is None:
            self._begin()
            episodes = self.run.news() or []
        first = self.count == 0
        for episode in episodes:
            self.count += 1
            self.phases[episode.phase] += 1
            self.recent.append(episode)
            if episode.reward is None:
                self.lost += 1
            else:
                self.rewards.append(episode.reward)
        now = time.monotonic()
        # What was there already says nothing of how fast it goes.
        self._arrived.append((now, 0 if first else len(episodes)))
        while now - self._arrived[0][0] > _RATED:
            self._arrived.popleft()
        self.metrics = self.run.metrics

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return bool(self.run.summary)

    @property
    def rate(self) -> float | None:
        """Episodes a second of late; None until it has been looked at for a while."""
        span = self._arrived[-1][0] - self._arrived[0][0] if self._arrived else 0.0
        return sum(count for _, count in self._arrived) / span if span >= 1 else None

    def frame(self, width: int = 100, height: int = 40) -> RenderableType:
        """Draw it, for a terminal of this size."""
        parts: list[RenderableType] = [self._header(), self._curves(width)]
        parts.append(self._health())
        rows = height - 12 - len(self.metrics and _CURVES) - min(6, len(self._calls()))
        parts.append(self._episodes(max(3, min(rows, 20)), width))
        if self.run.damaged:
            damaged = self.run.damaged[-1]
            told = f"{len(self.run.damaged)} rows passed over; {damaged.file.name}:{damaged.line}: "
            parts.append(_text(told + damaged.reason, "red"))
        return Group(*parts)

    def _header(self) -> RenderableType:
        run = self.run
        grpo = run.recipe.get("grpo")
        steps = grpo.get("steps") if isinstance(grpo, dict) else None
        done = self.metrics[-1].get("step", 0) if self.metrics else 0
        phase = printable(self.recent[-1].phase, lines=False) if self.recent else ""
        line = Text()
        line.append(printable(run.name, lines=False), style="bold")
        state = "ended" if self.ended else (f"in phase {phase}" if phase else "under way")
        line.append(f"  {state}", style="green" if self.ended else "yellow")
        if isinstance(steps, int) and isinstance(done, int) and steps > 0:
            line.append(f"  step {done}/{steps} {_bar(done / steps)}")
        line.append(f"  {self.count} episodes")
        line.append(f", {self.lost} lost", style="red" if self.lost else "dim")
        if (rate := self.rate) is not None and not self.ended:
            line.append(f"  {rate * 60:.0f} a minute")
        model = printable(run.model or "", lines=False)
        line.append(f"\n{model}  " if model else "\n", style="dim")
        accuracies = [f"{k.removeprefix('accuracy_')} {v:.3f}" for k, v in run.summary.items()
                      if k.startswith("accuracy") and isinstance(v, float)]  # fmt: skip
        if accuracies:
            line.append("accuracy: " + ", ".join(accuracies), style="green")
        return Panel(line, title="qwq watch", title_align="left")

    def _curves(self, width: int) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", width=13)
        table.add_column(no_wrap=True)
        table.add_column()
        room = max(10, min(width - 40, 100))
        known = [(label, _values(self.metrics, name)) for label, name in _CURVES]
        if not self.metrics:
            known = [("reward", self.rewards)]
        for label, values in known:
            if values:
                line = Text(sparkline(values, room), style="cyan")
                last = values[-1] if self.metrics else fmean(values)
                what = "" if self.metrics else "mean "
                span = f"{what}{last:.3g}  ({min(values):.3g} to {max(values):.3g})"
                table.add_row(label, line, span)
        title = "curves, by step" if self.metrics else "curves, by episode"
        return Panel(table, title=title, title_align="left")

    def _calls(self) -> list[tuple[str, int]]:
        calls: Counter[str] = Counter()
        for episode in self.recent:
            calls.update(episode.head.get("counts") or {})
        return calls.most_common()

    def _health(self) -> RenderableType:
        table = Table.grid(padding=(0, 3))
        calls = self._calls()
        total = sum(count for _, count in calls)
        shares = Text("calls: ", style="dim")
        for name, count in calls[:6]:
            style = "green" if name == "ok" else "red"
            shares.append(f"{printable(name, lines=False)} {count / total:.0%}  ", style=style)
        ends = Counter(episode.outcome.reason for episode in self.recent)
        outcomes = Text("ends: ", style="dim")
        for name, count in ends.most_common(5):
            style = "green" if name == "answered" else "yellow"
            share = count / len(self.recent)
            outcomes.append(f"{printable(name, lines=False)} {share:.0%}  ", style=style)
        table.add_row(shares if calls else Text("no calls yet", style="dim"))
        table.add_row(outcomes)
        table.add_row(self._seconds())
        title = f"tools and outcomes, of the last {len(self.recent)} episodes"
        return Panel(table, title=title, title_align="left")

    def _seconds(self) -> Text:
        spent: Counter[str] = Counter()
        for episode in self.recent:
            spent.update(episode.seconds._asdict())
        line = Text("seconds an episode: ", style="dim")
        for name, seconds in spent.items():
            line.append(f"{name} {seconds / len(self.recent):.2f}  ", style="default")
        return line

    def _episodes(self, count: int, width: int) -> RenderableType:
        table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
        for name in ("phase", "step", "task", "reward", "ended", "turns", "calls", "seconds"):
            right = name in ("step", "reward", "turns", "calls", "seconds")
            table.add_column(name, justify="right" if right else "left", no_wrap=True,
                             ratio=1 if name == "task" else None)  # fmt: skip
        for episode in list(self.recent)[-count:][::-1]:
            reward, outcome = episode.reward, episode.outcome
            seconds = sum(episode.seconds) - episode.seconds.waiting
            table.add_row(
                _text(episode.phase or "-"), "" if episode.step is None else str(episode.step),
                _text(episode.task), _paid(reward),
                _text(outcome.reason, "" if outcome.reason == "answered" else "yellow"),
                str(episode.head.get("turns", 0)), str(episode.head.get("tool_calls", 0)),
                f"{seconds:.1f}",
            )  # fmt: skip
        return Panel(table, title="new episodes", title_align="left")


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values in at most `width` characters: of more values, means of stretches."""
    if len(values) > width:
        ends = [len(values) * (i + 1) // width for i in range(width)]
        starts = [0, *ends[:-1]]
        values = [sum(values[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)]
    low, high = min(values), max(values)
    span = high - low
    if span <= 0:
        return _BARS[3] * len(values)
    return "".join(_BARS[min(7, int((value - low) / span * 8))] for value in values)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    given = (row.get(name) for row in rows)
    return [float(v) for v in given if isinstance(v, int | float) and v == v and abs(v) < 1e300]


def _bar(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * _BAR)
    return "█" * full + "░" * (_BAR - full)


def _paid(reward: float | None) -> Text:
    if reward is None:
        return Text("lost", style="red")
    return Text(f"{reward:g}", style="green" if reward > 0 else "dim")


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text, lines=False), style=style, overflow="ellipsis")
