"""What happens in a run, written down as it happens: to go on in mid-episode, or to play it again.

```python
with Journal("run.journal.jsonl") as journal, EpisodeStore("episodes.jsonl") as store:
    engine = Engine(env, policy, codec, journal=journal)
    trajectories = await engine.run(assignments, store.append, played=store.played())
```

The same lines begin a run and go on with one that was killed. An episode that had not ended is
played from its beginning, and the journal answers for the policy, the tools and the user as far as
it goes: with the ids that were sampled and their log-probabilities, the results of the calls, the
replies. From there on it is played as ever, each turn by the seed that it would have had. So its
trajectory is that of a run that was never interrupted, but for wall times, as far as the policy
repeats its draws.

**What is run again.** A row is written when something has answered, before anything follows from
the answer. A call that was under way when the process died has no answer in the journal, and may
have had its effect or not. What may be done about it, a tool or a tool set says in `replay`:

| `replay` | a call that had answered | a call that was under way |
|---|---|---|
| `"once"`, a tool's default | is taken from the journal | is not run again: the episode is lost |
| `"idempotent"` | is taken from the journal | is run again |
| `"rerun"` | is run again | is run again |

`"once"` is for effects outside the episode (a mail, an order, a file): no call is ever run twice.
An episode that cannot go on therefore is lost, reason `interrupted`, without a reward, and stays
so. `"idempotent"` is for what changes nothing (a search), or nothing more the second time:
`call_id()` names a call, and is the same when it is run again, for servers that take an idempotency
key. `"rerun"` is for state that lives and dies with the episode, in this process or a sandbox: the
same calls on a new one lead to the same state. They have to answer as they did; where one does not,
the episode is lost, reason `interrupted`.

A tool set is made anew and started. Its state comes back by its calls if its `replay` is `"rerun"`,
else by `ToolSet.restore_state`, which gets what `state` said after the last call that had answered.
One with neither has to say that there is nothing to bring back (`"once"`, `"idempotent"`); one that
says nothing is refused, and so is a tool that is made for each episode (`Tool.for_episode`). Turns,
replies and rewards that were under way are asked for again, and replies that are in the journal are
not: a user keeps no state but what `Episode` holds. Another attempt at an episode (after an
`InfrastructureError`) is another episode, and runs its own calls; a run that goes on has all its
attempts again.

**How safe it is.** Each row is handed to the operating system before anything follows from it, so
it outlives this process, `kill -9` included; with `fsync=True`, which costs a wait for the disk in
each turn and call, the machine's end too. A torn last line is cut off. Only one process at a time
can have a journal open.

**Offline.** With `Journal(path, offline=True)` a run is played again: no tool is called, no set
started, no policy and no user asked, and what is not in the journal is a `UsageError`. Rewards are
computed anew, from the same answers, results and states: so a run can be paid by another rubric.

```python
engine = Engine(env, policy, codec, journal=Journal("run.journal.jsonl", offline=True))
trajectories = await engine.run(engine.begun())
```
"""

from __future__ import annotations

import contextvars
import fcntl
import io
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.errors import InfrastructureError, QwqError, UsageError, brief, describe_error
from qwq_env.files.jsonl import read_object

Row = Mapping[str, Any]
_ALSO: Final[Mapping[str, dict[str, type]]] = {
    "begin": {"task_id": str, "seed": int},
    "failed": {"failure": str},
}


_call_id: contextvars.ContextVar[str] = contextvars.ContextVar("call_id")


def call_id() -> str:
    """Return a name for the tool call that asks, which no other call has, for its idempotency.

    With a journal it is the same when an interrupted call is run again; else a new one each time.
    """
    return _call_id.get(None) or uuid.uuid4().hex


class Interrupted(QwqError):
    """An episode cannot go on where it was: a call must not, or could not, be run again."""


class _Place(NamedTuple):
    line: int
    offset: int
    length: int


class Journal:
    """An append-only JSONL file of what happened, by episode and attempt. A context manager.

    A row holds `episode`, `attempt`, the kind of `event` (`begin`, `turn`, `started`, `result`,
    `reply`, `state`, `failed`), its `number` (of the turn or the call in the episode, from 0) and
    what the event was. `begun` has the task's id and the seed of each episode.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, offline: bool = False, fsync: bool = False
    ) -> None:
        """Open `path`, which need not exist unless `offline`.

        Raises `UsageError` for a file that is no journal, or that another process has open.
        """
        self.path, self.offline, self._fsync = Path(path), offline, fsync
        self.begun: dict[str, tuple[str, int]] = {}
        self._failures: defaultdict[str, list[str]] = defaultdict(list)
        self._places: defaultdict[tuple[str, int], list[_Place]] = defaultdict(list)
        self._file = self._opened()
        self._lines = self._end = 0
        try:
            self._read_all()
        except BaseException:
            self.close()
            raise

    def attempt(self, episode: str, number: int = 1) -> AttemptJournal:
        """Return the part of one attempt at an episode, with what is known of it already."""
        places = self._places.get((episode, number), ())
        rows = [self._parsed(self._bytes(place), place.line) for place in places]
        return AttemptJournal(self, episode, number, rows)

    def failures_of(self, episode: str) -> list[str]:
        """Return why the first attempts at an episode failed, all before the one that goes on."""
        return list(self._failures.get(episode, ()))

    def may_begin(self, episode: str, attempt: int) -> bool:
        """Say whether an attempt can be made: offline only one that was."""
        return not self.offline or (episode, attempt) in self._places

    def fail(self, episode: str, attempt: int, failure: str) -> None:
        """Write down that an attempt failed: it is not gone on with."""
        if not self.offline:
            self.attempt(episode, attempt).write("failed", failure=failure)

    def append(self, row: Row) -> None:
        """Write a row. Raises `InfrastructureError` for one that has no JSON form."""
        try:
            line = json.dumps(row).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            what = f"episode {row['episode']}, {row['event']} {row['number']}"
            message = f"journal: {what}: has no JSON form: {describe_error(error)}"
            raise InfrastructureError(message) from None
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]
        if self._fsync:
            os.fsync(self._file.fileno())
        self._note(row, len(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _opened(self) -> io.FileIO:
        try:
            if self.offline:
                return self.path.open("rb", buffering=0)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise UsageError(f"journal: {self.path}: {error.strerror}; expected a file") from None
        try:
            # This process's own: not inherited by what it forks, and gone when it is.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise UsageError(
                f"journal: {self.path}: another process has it open; expected that one to end first"
            ) from None
        return file

    def _read_all(self) -> None:
        self._file.seek(0)
        # Detached, not closed: closing any descriptor of a file lets go of its lock.
        lines = io.BufferedReader(self._file)
        for line in lines:
            if not line.endswith(b"\n"):
                if not self.offline:
                    self._file.truncate(self._end)
                break
            self._note(self._parsed(line, self._lines + 1), len(line))
        lines.detach()

    def _note(self, row: Row, length: int) -> None:
        self._lines += 1
        key = (row["episode"], row["attempt"])
        self._places[key].append(_Place(self._lines, self._end, length))
        self._end += length
        if row["event"] == "begin":
            self.begun.setdefault(row["episode"], (row["task_id"], row["seed"]))
        elif row["event"] == "failed":
            self._failures[row["episode"]].append(row["failure"])

    def _bytes(self, place: _Place) -> bytes:
        return os.pread(self._file.fileno(), place.length, place.offset)

    def _parsed(self, line: bytes, number: int) -> Row:
        try:
            row = read_object(line, constants=True)
        except UsageError as error:
            raise UsageError(f"{self.path}:{number}: {error}") from None
        wanted: dict[str, type] = {"episode": str, "attempt": int, "event": str, "number": int}
        wanted |= _ALSO.get(str(row.get("event")), {})
        if bad := [key for key, kind in wanted.items() if not isinstance(row.get(key), kind)]:
            raise UsageError(f"{self.path}:{number}: no row of a journal: {bad[0]} is missing")
        return row


class AttemptJournal:
    """What is known of one attempt at an episode, and where the rest is written."""

    __slots__ = ("_known", "attempt", "episode", "journal")

    def __init__(self, journal: Journal, episode: str, attempt: int, rows: Iterable[Row]) -> None:
        self.journal, self.episode, self.attempt = journal, episode, attempt
        self._known = {(row["event"], row["number"]): row for row in rows}

    @property
    def offline(self) -> bool:
        """Whether nothing may be played that is not known."""
        return self.journal.offline

    def recall(self, event: str, number: int = 0, **same: Any) -> Row | None:
        """Return what was written of an event, None if nothing was.

        Raises `UsageError` if a value of `same` was another one then, for the journal is of another
        run; and if nothing was written, and the run is played offline.
        """
        row = self._known.get((event, number))
        if row is None:
            if self.offline:
                raise UsageError(
                    f"journal: {self.journal.path}: {self._name(event, number)} is not in it, and"
                    " offline nothing is played that is not"
                )
            return None
        for key, value in same.items():
            if row.get(key) != value:
                raise UsageError(
                    f"journal: {self.journal.path}: {self._name(event, number)}, {key}:"
                    f" {brief(row.get(key))} was written, and now it is {brief(value)}; expected"
                    " the environment, policy and settings of the run that it is of"
                )
        return row

    def write(self, event: str, number: int = 0, **values: Any) -> Row:
        """Write an event down, and return it as it will be recalled."""
        row = {
            "episode": self.episode, "attempt": self.attempt, "event": event, "number": number,
            **values,
        }  # fmt: skip
        self.journal.append(row)
        return row

    def name_call(self, number: int) -> None:
        """Have `call_id` name the call of that number, for whatever runs in this context."""
        _call_id.set(f"{self.episode}/{self.attempt}/{number}")

    def state_of(self, tool_set: str) -> Row | None:
        """Return the row of the last result that came with the state of that set."""
        rows = (row for (event, _), row in self._known.items() if event == "result")
        stated = [row for row in rows if row.get("set") == tool_set]
        return max(stated, key=lambda row: row["number"], default=None)

    def _name(self, event: str, number: int) -> str:
        return f"episode {brief(self.episode)}, attempt {self.attempt}, {event} {number}"
