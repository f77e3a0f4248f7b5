"""How an evaluation stands, on one line of a terminal, or a line now and then in a log.

```
aime24  412/1920  0.7810 ± 0.0402  3,104,882 tokens  $1.86  2 lost  1h04m left
```
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from qwq_env.evaluation.meter import Prices
from qwq_env.evaluation.statistics import clustered_mean
from qwq_env.text.characters import printable
from qwq_env.text.terminal import drawing_stream
from qwq_env.trajectory import Trajectory

_DRAWN_S: Final = 0.5
_LINE_S: Final = 10.0


class Progress:
    """Counts episodes as they end, and shows how it stands. A context manager.

    `used` gives the tokens so far, `value` what a scored episode counts for. The score is over what
    has ended, and short episodes end first: it is no estimate of the result until the end.
    """

    def __init__(
        self,
        title: str,
        total: int,
        value: Callable[[Trajectory], float],
        used: Callable[[], Mapping[str, int]],
        prices: Prices | None = None,
    ) -> None:
        self.done = self.lost = 0
        self._title, self._total = printable(title, lines=False), total
        self._value, self._used, self._prices = value, used, prices
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self._earlier = 0
        self._began = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._show("begins")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._show("ended" if kind is None else "was interrupted")
        if self._terminal:
            drawing_stream(sys.stderr).write("\n")

    def count(self, trajectory: Trajectory, *, earlier: bool = False) -> None:
        """Take account of an episode that ended now, or in a run before this one."""
        self.done += 1
        self._earlier += earlier
        self.lost += trajectory.outcome.failed
        if trajectory.reward is not None:
            self._values[trajectory.task_id].append(self._value(trajectory))
        if not earlier and time.monotonic() - self._shown > (
            _DRAWN_S if self._terminal else _LINE_S
        ):
            self._show()

    def line(self, state: str = "") -> str:
        """Return how it stands."""
        used = self._used()
        tokens = used.get("sampled_tokens", 0)
        parts = [
            f"{self._title}  {self.done}/{self._total}",
            self._score(),
            f"{tokens:,} tokens" if tokens else "",
            "" if self._prices is None else f"${self._prices.cost(used):,.2f}",
            f"{self.lost} lost" if self.lost else "",
            state or self._left(),
        ]
        return "  ".join(filter(None, parts))

    def _score(self) -> str:
        pairs = [(value, task) for task, values in self._values.items() for value in values]
        mean = clustered_mean([value for value, _ in pairs], [task for _, task in pairs])
        if mean is None:
            return ""
        error = "" if mean.error is None else f" ± {mean.error:.4f}"
        return f"{mean.value:.4f}{error}"

    def _left(self) -> str:
        fresh = self.done - self._earlier
        if not fresh:
            return ""
        seconds = (time.monotonic() - self._began) / fresh * (self._total - self.done)
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        told = f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
        return f"{told} left"

    def _show(self, state: str = "") -> None:
        self._shown = time.monotonic()
        if self._terminal:
            stream = drawing_stream(sys.stderr)
            stream.write(f"\r{self.line(state)}\x1b[K")
            stream.flush()
        else:
            print(self.line(state), file=sys.stderr, flush=True)
