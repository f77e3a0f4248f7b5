"""Episodes on disk: one JSON object a line, written as they end, read back to go on.

A run that was killed leaves at most one torn line, which `EpisodeStore` cuts off. What is there
need not be played again: the same lines begin a batch and go on with it. What a line holds stands
in `qwq_env.trajectory`; the texts that lines share lie beside them, see `Lexicon`. To look at
episodes, `qwq_env.rollout.stored` reads the same lines without decoding what it does not need.

```python
with EpisodeStore("episodes.jsonl") as store:
    trajectories = await engine.run(assignments, store.append, played=store.played())
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from qwq_env.errors import UsageError, describe_error
from qwq_env.files.jsonl import cut_torn_line, read_objects
from qwq_env.rollout.lexicon import Lexicon, TokenTexts
from qwq_env.short_rows import in_full, shortened
from qwq_env.trajectory import HEAD_ENDS, Trajectory, step_of


class EpisodeStore:
    """An append-only JSONL file of trajectories. A context manager."""

    def __init__(self, path: str | Path, tokens: TokenTexts | None = None) -> None:
        """Open `path`, which need not exist; a torn last line is cut off.

        With `tokens`, such as the `TokenCodec`, the text of each token that occurs is stored too.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(self.path)
        self._tokens = tokens
        self._lexicon = Lexicon.beside(self.path)
        cut_torn_line(self._lexicon.path)
        self._lexicon.read()
        self._file = self.path.open("ab")
        self._shared: BinaryIO | None = None

    def append(self, trajectory: Trajectory, *, whole: bool = True, **extra: Any) -> None:
        """Write one trajectory, with further keys such as the step; flushed at once.

        Without `whole` its numbers alone are kept: neither text nor tokens.
        """
        row = shortened(trajectory.to_json(whole=whole))
        if whole:
            self._share(trajectory, row)
        # What further keys a row has comes first, where a reader looks for them.
        self._file.write(row_line({"schema": row.pop("schema"), **extra, **row}))
        self._file.flush()

    def _share(self, trajectory: Trajectory, row: dict[str, Any]) -> None:
        """Write what later rows need not say again; before the row, which refers to it."""
        lines = [_line({"text": text}) for text in self._lexicon.share(row)]
        if self._tokens is not None:
            for each in trajectory.rows:
                if new := self._lexicon.learn_tokens(each.ids, self._tokens):
                    lines.append(_line({"tokens": new}))
        if not lines:
            return
        if self._shared is None:
            self._shared = self._lexicon.path.open("ab")
        self._shared.writelines(lines)
        self._shared.flush()

    def played(self, **extra: Any) -> dict[str, Trajectory]:
        """Return what need not be played again, by the episode's name, for `Engine.run`.

        Only rows that were written with these further keys count, such as `phase="cold"`; of
        several rows of an episode the last one does. An episode that our machinery lost is not
        among them: it is missing, too. Raises `UsageError` naming the line of a bad row.
        """
        found: dict[str, Trajectory] = {}
        for number, row in _rows_with(self.path, extra):
            trajectory = _trajectory(self.path, number, row, self._lexicon)
            found[trajectory.episode] = trajectory
        return {name: t for name, t in found.items() if not t.outcome.failed}

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._shared is not None:
            self._shared.close()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_episodes(path: str | Path, **extra: Any) -> Iterator[Trajectory]:
    """Read a file of trajectories, those written with these further keys (`phase="trained"`).

    Raises `UsageError` naming the line of a bad row.
    """
    lexicon = Lexicon.beside(Path(path)).read()
    for number, row in _rows_with(Path(path), extra):
        yield _trajectory(path, number, row, lexicon)


def _rows_with(path: Path, extra: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers and the rows that were written with these further keys."""
    for number, row in read_objects(path, constants=True, appended=True):
        known = row | {"step": step_of(row)}
        if all(known.get(key) == value for key, value in extra.items()):
            yield number, row


def place_of(episode: str) -> int:
    """Return an episode's place in its batch, with which its name ends."""
    return int(re.search(r"\d*\Z", episode)[0] or 0)  # type: ignore[index]


def _trajectory(
    path: str | Path, number: int, row: Mapping[str, Any], lexicon: Lexicon
) -> Trajectory:
    try:
        full = in_full(row)
        lexicon.restore(full)
        return Trajectory.from_json(full)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = describe_error(error)
        raise UsageError(f"{path}:{number}: not an episode: {reason}") from None


def row_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as its line, with the length of what a table does not need (`tail`)."""
    names = list(row)
    at = names.index(HEAD_ENDS)
    head = _line({name: row[name] for name in names[:at]})
    tail = b"," + _line({name: row[name] for name in names[at:]})[1:]
    return head[:-2] + b',"tail":%d' % len(tail) + tail


def _line(value: Mapping[str, Any]) -> bytes:
    # A dialect of a user's own may put anything into a call: its text is better than no episode.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    # A chat server may send half of a surrogate pair; written out, it is JSON's own escape.
    return text.encode("utf-8", "backslashreplace") + b"\n"
