"""Episodes on disk: one JSON object a line, written as they end, read back to go on.

A run that was killed leaves at most one torn line, which `EpisodeStore` cuts off. What is there
need not be played again: the same lines begin a batch and go on with it.

```python
with EpisodeStore("episodes.jsonl") as store:
    trajectories = await engine.run(assignments, store.append, played=store.played())
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError, describe_error
from qwq_env.files.jsonl import read_objects
from qwq_env.trajectory import Trajectory


class EpisodeStore:
    """An append-only JSONL file of trajectories. A context manager."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`, which need not exist; a torn last line is cut off."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self.path)
        # A chat server may send half of a surrogate pair; written out, it is JSON's own escape.
        self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace")

    def append(self, trajectory: Trajectory, **extra: Any) -> None:
        """Write one trajectory, with further keys such as the step; flushed at once."""
        row = {**extra, **trajectory.to_json()}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def played(self, **extra: Any) -> dict[str, Trajectory]:
        """Return what need not be played again, by the episode's name, for `Engine.run`.

        Only rows that were written with these further keys count, such as `phase="cold"`; of
        several rows of an episode the last one does. An episode that our machinery lost is not
        among them: it is missing, too. Raises `UsageError` naming the line of a bad row.
        """
        found: dict[str, Trajectory] = {}
        for number, row in read_objects(self.path, constants=True):
            if all(row.get(key) == value for key, value in extra.items()):
                trajectory = _trajectory(self.path, number, row)
                found[trajectory.episode] = trajectory
        return {name: t for name, t in found.items() if not t.outcome.failed}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_episodes(path: str | Path) -> Iterator[Trajectory]:
    """Read a file of trajectories. Raises `UsageError` naming the line of a bad row."""
    for number, row in read_objects(Path(path), constants=True):
        yield _trajectory(path, number, row)


def _trajectory(path: str | Path, number: int, row: Mapping[str, Any]) -> Trajectory:
    try:
        return Trajectory.from_json(row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = describe_error(error)
        raise UsageError(f"{path}:{number}: not an episode: {reason}") from None


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
