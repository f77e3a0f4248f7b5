"""Benchmarks by name, a file for each, or for each family.

```python
benchmark = find_benchmark("aime24")
data = load_data(benchmark, "qwq", "aime24.jsonl")   # tasks, where they came from, their digest
```
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from qwq_env.evaluation.benchmarks.protocol import Benchmark

_MODULES: Final[Mapping[str, str]] = {
    "aime24": "aime",
    "aime25": "aime",
    "amc23": "amc23",
    "gsm8k": "gsm8k",
    "math500": "math500",
    "livecodebench": "livecodebench",
    "livebench": "livebench",
    "ifeval": "ifeval",
    "bfcl": "bfcl",
    "humaneval": "humaneval",
    "mbpp": "mbpp",
    "retail": "retail",
}
"""Name → module, which has it under its name in capitals."""

BENCHMARKS: Final = tuple(_MODULES)
"""The names that `qwq eval` takes."""


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name in `BENCHMARKS`; raises `KeyError` for another."""
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    found: Benchmark = getattr(module, name.upper())
    return found


def looks_like(columns: Iterable[str], known: Iterable[str] = BENCHMARKS) -> list[str]:
    """Return the benchmarks whose rows have all of their columns among these."""
    given = set(columns)
    return [
        name
        for name in known
        if any(given >= set(form) for form in find_benchmark(name).forms.values())
    ]


def about(benchmark: Benchmark, preset: str) -> dict[str, Any]:
    """Return what a report says of a benchmark and the protocol it was played by."""
    protocol = benchmark.protocol(preset)
    words = {name: getattr(protocol, name) for name in _WORDS}
    return {"name": benchmark.name, "title": benchmark.title, "preset": preset, **words}


_WORDS: Final = ("prompt", "extraction", "judge", "metric", "source")
