"""What the server counts, written in Prometheus' text format (version 0.0.4).

Eight series do not earn a dependency; the format is a line a sample. Label values come from
fixed sets (route names, status codes), never from a request, so a caller cannot make the
number of series grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. A bare run takes about 2 ms; the longest wall limit is minutes.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        reached = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self.counts, strict=True):
            reached += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {reached}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {reached}"


class Metrics:
    """Counters since the start of the server, and the gauges given at the moment of asking."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._executions: Counter[str] = Counter()
        self._latency: dict[str, _Histogram] = {}
        self._wait = _Histogram()
        self.clients_gone = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `seconds` runs from its last byte to the answer."""
        self._requests[route, status] += 1
        self._latency.setdefault(route, _Histogram()).observe(seconds)

    def execution(self, status: str) -> None:
        """Count an execution by the status of its result (ok, error, timeout, …)."""
        self._executions[status] += 1

    def waited(self, seconds: float) -> None:
        """Record how long an admitted request stood in the queue."""
        self._wait.observe(seconds)

    def render(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return the exposition; `gauges` maps a name to its help text and present value."""
        return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
        yield from _head("qwq_sandbox_requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            yield f'qwq_sandbox_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("qwq_sandbox_executions_total", "counter", "Executions by result.")
        for result, count in sorted(self._executions.items()):
            yield f'qwq_sandbox_executions_total{{result="{result}"}} {count}'
        yield from _head(
            "qwq_sandbox_clients_gone_total", "counter", "Requests whose client left early."
        )
        yield f"qwq_sandbox_clients_gone_total {self.clients_gone}"
        yield from _head("qwq_sandbox_request_seconds", "histogram", "Time to answer a request.")
        for route, histogram in sorted(self._latency.items()):
            yield from histogram.lines("qwq_sandbox_request_seconds", f'route="{route}"')
        yield from _head("qwq_sandbox_queue_seconds", "histogram", "Time spent in the queue.")
        yield from self._wait.lines("qwq_sandbox_queue_seconds", 'queue="slots"')
        for name, (help_text, value) in gauges.items():
            yield from _head(f"qwq_sandbox_{name}", "gauge", help_text)
            yield f"qwq_sandbox_{name} {value:g}"


def _head(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
