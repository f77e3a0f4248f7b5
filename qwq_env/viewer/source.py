"""What to view: runs' folders, evaluations', files of episodes; several become one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError
from qwq_env.rollout.stored import StoredRun

_MOST_NAMED: Final = 6
_LONGEST_FACT: Final = 300
_KINDS: Final = {"run": "training run", "evaluation": "evaluation"}


class Source(NamedTuple):
    """What was found. `kind` is told to the reader; `facts` are the summary's and settings'."""

    title: str
    kind: str
    runs: list[StoredRun]
    facts: list[tuple[str, str]]


def find_source(paths: Sequence[Path]) -> Source:
    """Return what `paths` hold; a folder of runs is all of them.

    Raises `UsageError` for what is no run, and for one without episodes.
    """
    runs = [run for path in paths for run in _runs(path)]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    kinds = {_KINDS.get(run.kind, "episodes") for run in runs}
    facts = [
        fact for run in runs for values in (run.settings, run.summary) for fact in _facts(values)
    ]
    kind = kinds.pop() if len(kinds) == 1 else "episodes"
    return Source(paths[0].resolve().name + more, kind, runs, facts)


def _runs(path: Path) -> list[StoredRun]:
    if path.is_dir() and not any(path.glob("episodes*.jsonl")):
        below = [StoredRun.open(file.parent) for file in sorted(path.glob("*/episodes.jsonl"))]
        if below:
            return below
    run = StoredRun.open(path)
    if not any(file.stat().st_size for file in run.files):
        where = path if path.is_file() else f"{path} ({_found(path)})"
        raise UsageError(f"run: {where} has no episodes yet; expected at least one")
    return [run]


def _found(path: Path) -> str:
    shown = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    names = sorted(entry.name + "/" * entry.is_dir() for entry in shown)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the plain values of settings or a summary."""
    return [
        (key, str(value)[:_LONGEST_FACT])
        for key, value in values.items()
        if isinstance(value, str | int | float) and value != ""
    ]
