"""Episodes on disk: one JSON object a line, written as they end, read back to go on.

A run that was killed leaves at most one torn line; `EpisodeStore` cuts it off and knows which
episodes are there, so that only the missing ones are played again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwq_env.errors import UsageError
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

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_episodes(path: str | Path) -> Iterator[Trajectory]:
    """Read a file of trajectories. Raises `UsageError` naming the line of a bad row."""
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Trajectory.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{path}:{number}: not an episode: {error}") from None


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
