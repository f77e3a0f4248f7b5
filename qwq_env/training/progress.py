"""Progress for a person: a bar a phase on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from qwq_env.text.characters import printable
from qwq_env.text.terminal import printable_streams

_LOG_SECONDS = 10.0


class Phase:
    """One phase of a run: a context manager with `advance`. Silent where `enabled` is False."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        unit: str,
        *,
        enabled: bool,
        on_advance: Callable[[], None],
    ) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._enabled, self._on_advance = enabled, on_advance
        self._done = 0
        self._started = self._last_line = 0.0
        self._note = ""
        self._bar: Progress | None = None
        self._streams = ExitStack()

    @property
    def seconds(self) -> float:
        """Wall seconds since the phase began."""
        return time.perf_counter() - self._started

    def __enter__(self) -> Self:
        self._started = self._last_line = time.perf_counter()
        if self._enabled and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"),
                TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"),
                console=self._console,
            )  # fmt: skip
            self._bar.start()
            # Rich reads what is written meanwhile for colours and links, and would obey it.
            self._streams.enter_context(printable_streams())
            self._task = self._bar.add_task(self._title, total=self._total, rate="", note="")
        elif self._enabled:
            self._line("begins")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._streams.close()
        if self._bar is not None:
            self._bar.stop()
        elif self._enabled:
            self._line("ended" if kind is None else "was interrupted")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more are done, with a short note such as the newest loss."""
        self._done += count
        self._on_advance()
        self._note = note or self._note
        rate = f"{self._done / max(self.seconds, 1e-9):.1f} {self._unit}/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=rate, note=self._note)
        elif self._enabled and time.perf_counter() - self._last_line > _LOG_SECONDS:
            rest = self._total - self._done
            left = f", {self.seconds / self._done * rest:.0f} s left" if self._done else ""
            self._line(f"{rate}{left}")

    def _line(self, what: str) -> None:
        self._last_line = time.perf_counter()
        note = f"  {self._note}" if self._note else ""
        text = f"{self._title:<16} {self._done}/{self._total}  {self.seconds:.0f} s  {what}{note}"
        print(text, file=sys.stderr, flush=True)


class Reporter:
    """Makes phases and prints; only the first of several processes says anything."""

    def __init__(self, enabled: bool = True) -> None:
        self.console = Console(stderr=True)
        self.enabled = enabled

    def say(self, line: str) -> None:
        """Print a line, whatever it holds; nothing of it is markup."""
        if self.enabled:
            self.console.print(Text(printable(line)), soft_wrap=True)

    def phase(
        self, title: str, total: int, unit: str, on_advance: Callable[[], None] = lambda: None
    ) -> Phase:
        """Return a phase to enter; it calls `on_advance` whenever something is done."""
        return Phase(self.console, title, total, unit, enabled=self.enabled, on_advance=on_advance)
