"""What the trainer made of the tokens that were sampled: `ratios.jsonl` beside `episodes.jsonl`.

An episode is written when it ends, and what the trainer computes of its tokens is known only when
it learns from them. So that has a file of its own (of other ranks `ratios-rank1.jsonl`, ...), one
JSON object for each row that went through the model:

| key | value |
| --- | --- |
| `schema` | 1 |
| `step`, `episode` | those of the episode's row in `episodes.jsonl` |
| `row` | which of `Trajectory.rows`, from 0 |
| `log_ratios` | of each sampled id its log-probability in the trainer less the stored one |
| `entropies` | of each sampled id the entropy of the trainer's distribution there, in nats |

Both columns (`qwq_env.columns`) are of half precision: they are looked at, not learned from. They
are of the first time that the row is learned from. Rows that nothing is learned from, such as those
of a group that was paid alike, need not go through the model, and then are not here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from qwq_env.columns import pack_halves, unpack_floats
from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import cut_torn_line, read_object

SCHEMA: Final = 1
_LARGEST_LOG: Final = 700.0

Key = tuple[int, str, int]
"""Step, episode and row."""


class Ratios(NamedTuple):
    """Of each sampled id of a row: the trainer's ratio to the sampler, and its entropy in nats."""

    ratios: list[float]
    entropies: list[float]


class RatioStore:
    """An append-only file of what the trainer computes. A context manager."""

    def __init__(self, episodes: str | Path) -> None:
        """Use the file beside `episodes`; of one that is there a torn last line is cut off."""
        self.path = ratios_beside(Path(episodes))
        cut_torn_line(self.path)
        self._file: BinaryIO | None = None

    def append(
        self,
        step: int,
        episode: str,
        row: int,
        log_ratios: Sequence[float],
        entropies: Sequence[float],
    ) -> None:
        """Write the line of a row; flushed at once. The first one makes the file."""
        if self._file is None:
            self._file = self.path.open("ab")
        line = {
            "schema": SCHEMA, "step": step, "episode": episode, "row": row,
            "log_ratios": pack_halves(log_ratios), "entropies": pack_halves(entropies),
        }  # fmt: skip
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> RatioStore:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()


def ratios_beside(episodes: Path) -> Path:
    """Return where the ratios of a file of episodes are: of `e.jsonl` in `e.ratios.jsonl`, and of
    `episodes-rank1.jsonl` in `ratios-rank1.jsonl`."""
    name = episodes.name
    if name.startswith("episodes"):
        return episodes.with_name("ratios" + name.removeprefix("episodes"))
    return episodes.with_name(f"{episodes.stem}.ratios.jsonl")


class StoredRatios:
    """The ratios beside a file of episodes, to read, also while they are written.

    `damaged` is called with the number of a line that cannot be read, and why; it counts as absent.
    """

    def __init__(self, path: Path, damaged: Callable[[int, str], None]) -> None:
        """Nothing is read of `path`, which need not exist, until it is asked for."""
        self.path = path
        self._damaged = damaged
        self._lines: dict[Key, tuple[int, int, int]] = {}
        self._read = (0, 0, 0)

    def of(self, step: int | None, episode: str, row: int, sampled: int) -> Ratios | None:
        """Return those of a row with so many `sampled` ids; None where there are none."""
        if step is None or not self._look():
            return None
        place = self._lines.get((step, episode, row))
        if place is None:
            return None
        number, start, size = place
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                line = read_object(file.read(size))
            return _columns(line, sampled)
        except (UsageError, ValueError, KeyError, OSError) as error:
            self._lost(number, error)
            del self._lines[step, episode, row]
            return None

    def _look(self) -> bool:
        """Find the lines that are new; return whether there is a file."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        inode, end, number = self._read
        if inode != now.st_ino or now.st_size < end:
            self._lines.clear()
            end = number = 0
        if now.st_size > end:
            with self.path.open("rb") as file:
                file.seek(end)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # it is being written
                    number += 1
                    self._find(line, number, end)
                    end += len(line)
        self._read = now.st_ino, end, number
        return True

    def _find(self, line: bytes, number: int, start: int) -> None:
        if line.isspace():
            return
        # What is told first says whose line it is; the columns are read when they are asked for.
        head, columns, _ = line.partition(b',"log_ratios":')
        try:
            told = read_object(head + b"}" if columns else line)
            key = _key(told)
        except (UsageError, ValueError) as error:
            self._lost(number, error)
            return
        self._lines[key] = number, start, len(line)

    def _lost(self, number: int, error: Exception) -> None:
        named = isinstance(error, KeyError)
        self._damaged(number, f"no ratios: {f'lacks {error}' if named else error}")


def _key(line: dict[str, Any]) -> Key:
    """Return whose line it is. Raises `ValueError`."""
    if line.get("schema") != SCHEMA:
        raise ValueError(f"schema {brief(line.get('schema'))}; expected {SCHEMA}")
    step, episode, row = line.get("step"), line.get("episode"), line.get("row")
    if type(step) is not int or not isinstance(episode, str) or type(row) is not int:
        raise ValueError("expected step, episode and row")
    return step, episode, row


def _columns(line: dict[str, Any], sampled: int) -> Ratios:
    found = []
    for name in ("log_ratios", "entropies"):
        column = line[name]
        if not isinstance(column, str):
            raise ValueError(f"{name} {brief(column)}; expected a column")
        values = unpack_floats(column)
        if len(values) != sampled:
            raise ValueError(f"{len(values)} {name} for {sampled} sampled ids")
        found.append(values)
    logs, entropies = found
    return Ratios([math.exp(min(value, _LARGEST_LOG)) for value in logs], entropies)
