"""A task, and the sets that tasks come from.

A `TaskSet` is a map from an index to a `Task`: the same index gives the same task, on every
machine. Finite sets have a `size`; procedural ones are endless (`size` is None). The reference
answer is in `Task.answer`; it never reaches the model nor a process that runs its code.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qwq_env.errors import UsageError, brief
from qwq_env.files.jsonl import read_objects
from qwq_env.tasks.rows import answer_of, question_of

_log = logging.getLogger(__name__)
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Task:
    """One problem: what the model is asked (`prompt`) and what a verifier needs (`answer`).

    `id` is unique in its set. `messages` replaces `prompt` where a task is a conversation.
    `metadata` is free (difficulty, source, tests) and is never shown to the model. `steps` are
    the operations that lead to the answer, where a set knows them and wants them carried out:
    texts, in which `{0}` stands for the result of the first step: `("481+27", "{0}*3")`.
    """

    id: str
    prompt: str
    answer: Any
    messages: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()

    def conversation(self, system: str | None = None) -> list[Mapping[str, Any]]:
        """Return the opening messages, with a system message in front if one is given."""
        messages = list(self.messages) or [{"role": "user", "content": self.prompt}]
        if system and messages[0].get("role") != "system":
            messages.insert(0, {"role": "system", "content": system})
        return messages


class _Unset:
    """Stands for a `size` that a subclass has not set, and says so when it is asked for."""

    def __get__(self, owner: TaskSet | None, kind: type[TaskSet]) -> int:
        if owner is None:
            raise AttributeError(f"{kind.__name__} has no size of its own")
        raise UsageError(
            f"tasks: {kind.__name__} sets no size; expected self.size = how many tasks there are,"
            " or None where they have no end"
        )


class TaskSet(ABC):
    """Tasks by index. A subclass sets `size` (None: endless) and gives `task`."""

    size: int | None = _Unset()  # type: ignore[assignment]  # an instance's own hides it

    @abstractmethod
    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0. Raises `IndexError` beyond `size`."""

    def sample(self, generator: np.random.Generator) -> Task:
        """Return a task drawn uniformly with `generator`."""
        return self.task(int(generator.integers(self.size or 2**31 - 1)))

    def find(self, task_id: str) -> Task:
        """Return the task with that id. Raises `KeyError` if there is none.

        An endless set must override this with an id that it can invert (`find_by_index` is for ids
        that end with the index); `UsageError` says so.
        """
        if self.size is None:
            name = type(self).__name__
            raise UsageError(
                f"tasks: {name} is endless and has no find; give it a method find(self, task_id),"
                " for ids that end with the index: find_by_index(self, prefix, task_id)"
            )
        for index in range(self.size):
            task = self.task(index)
            if task.id == task_id:
                return task
        raise KeyError(task_id)

    def __iter__(self) -> Iterator[Task]:
        """Iterate over all tasks; without end for an endless set."""
        index = 0
        while self.size is None or index < self.size:
            yield self.task(index)
            index += 1


def find_by_index(tasks: TaskSet, prefix: str, task_id: str) -> Task:
    """Return the task whose id is `prefix` and its index: `find` for an endless set.

    Raises `KeyError` for every other text; ids are foreign, so a huge index is refused unread.
    """
    index = task_id.removeprefix(prefix)
    if index == task_id or not (index.isascii() and index.isdecimal()) or len(index) > 20:
        raise KeyError(task_id)
    task = tasks.task(int(index))
    if task.id != task_id:
        raise KeyError(task_id)
    return task


class ListTaskSet(TaskSet):
    """Tasks that lie in memory."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        """Raises `UsageError` for no task at all, what is no `Task`, and two of one id."""
        self._tasks = tuple(tasks)
        if not self._tasks:
            raise UsageError("tasks: the set is empty; expected at least one task")
        self._by_id: dict[str, Task] = {}
        for task in self._tasks:
            if not isinstance(task, Task):
                raise UsageError(f"tasks: {brief(task)}; expected a Task")
            if task.id in self._by_id:
                raise UsageError(
                    f"tasks: two tasks share the id {brief(task.id)}; expected it once"
                )
            self._by_id[task.id] = task
        self.size = len(self._tasks)

    def task(self, index: int) -> Task:
        """Return the task at `index`."""
        return self._tasks[index]

    def find(self, task_id: str) -> Task:
        """Return the task with that id."""
        return self._by_id[task_id]


class Later(TaskSet):
    """A task set without its first `skipped` tasks."""

    def __init__(self, tasks: TaskSet, skipped: int) -> None:
        self._tasks = tasks
        self.skipped = skipped
        self.size = None if tasks.size is None else tasks.size - skipped

    def task(self, index: int) -> Task:
        """Return the task at `index` ≥ 0, counted after those that were skipped."""
        if index < 0:
            raise IndexError(index)
        return self._tasks.task(self.skipped + index)

    def find(self, task_id: str) -> Task:
        """Return the task with that id, also one that was skipped."""
        return self._tasks.find(task_id)


RowReader = Callable[[Mapping[str, Any], str], Task]
"""Makes a `Task` of a row and the id it is to have; raises `UsageError` for a bad row."""


def prompted_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read the house form where a row need not have an answer ("" then)."""
    prompt, answer = row.get("prompt"), row.get("answer", "")
    if not isinstance(prompt, str | list) or not prompt:
        raise UsageError(f"prompt: {brief(prompt)}; expected a text or a list of messages")
    metadata = {key: value for key, value in row.items() if key not in ("prompt", "answer", "id")}
    identity = _identity(row, task_id)
    if isinstance(prompt, list):
        return Task(identity, _last_content(prompt), answer, tuple(prompt), metadata)
    return Task(identity, prompt, answer, metadata=metadata)


def read_any_row(row: Mapping[str, Any], task_id: str) -> Task:
    """Read a row of any form in `tasks.rows`: a question, and the answer that it has.

    Its other columns become metadata, but of a published form those that hold lists
    (conversations, generations). Raises `UsageError` for a row that is no task.
    """
    question, answer = question_of(row), answer_of(row)
    if "prompt" in row:
        return prompted_row({**row, "prompt": question, "answer": answer}, task_id)
    metadata = {name: value for name, value in row.items() if not isinstance(value, list)}
    return Task(_identity(row, task_id), question, answer, metadata=metadata)


def load_jsonl(
    path: str | Path, reader: RowReader = read_any_row, *, strict: bool = False
) -> ListTaskSet:
    """Load a file of one JSON object a line.

    Rows that `reader` refuses are left out and told of in one line. Raises `UsageError` that names
    the file and the line for a line that is no JSON object, for the first refused row if all are
    or if `strict`, and for an id that is there twice.
    """
    path = Path(path)
    rows = (
        (f"{path}:{number}", f"{path.stem}/{number}", row)
        for number, row in read_objects(path, field="tasks")
    )
    return load_rows(str(path), rows, reader, strict)


_TABLES = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


def load_huggingface(
    dataset: str,
    *,
    configuration: str | None = None,
    split: str = "train",
    reader: RowReader = read_any_row,
    strict: bool = False,
) -> ListTaskSet:
    """Load a dataset of the Hugging Face hub, or a local folder of the same layout.

    A folder that `save_to_disk` wrote of one split, and a file of a table, is that split.

    Needs the `train` extra. Raises `UsageError` for a dataset that cannot be loaded, and for rows
    as `load_jsonl` does.
    """
    import datasets  # noqa: PLC0415 - heavy, optional

    try:
        if (form := _TABLES.get(Path(dataset).suffix.lower())) and Path(dataset).is_file():
            loaded = datasets.load_dataset(form, data_files=dataset, split="train")
        elif (Path(dataset) / "state.json").is_file():
            loaded = datasets.load_from_disk(dataset)
        else:
            loaded = datasets.load_dataset(dataset, configuration, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"tasks: dataset {brief(dataset)} could not be loaded: {reason}") from None
    name = f"{dataset}[{split}]"
    rows = (
        (f"{name} row {index}", f"{dataset}/{split}/{index}", row)
        for index, row in enumerate(loaded)
    )
    return load_rows(name, rows, reader, strict)


def load_rows(
    name: str,
    rows: Iterable[tuple[str, str, Mapping[str, Any]]],
    reader: RowReader,
    strict: bool,
) -> ListTaskSet:
    """Make the tasks of rows, each with where it stands and the id that it has if it says none.

    Rows are left out and refused as by `load_jsonl`; `name` is what errors call them together.
    """
    tasks, refused = [], []
    for where, task_id, row in rows:
        try:
            tasks.append(reader(row, task_id))
        except UsageError as error:
            refused.append(f"{where}: {error}")
            if strict:
                break
    if refused and (strict or not tasks):
        raise UsageError(refused[0])
    if not tasks:
        raise UsageError(f"tasks: {name}: no rows; expected at least one")
    if refused:
        total = len(tasks) + len(refused)
        _log.warning("%d of %d rows left out, the first: %s", len(refused), total, refused[0])
    try:
        return ListTaskSet(tasks)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _identity(row: Mapping[str, Any], task_id: str) -> str:
    return task_id if row.get("id") is None else str(row["id"])


def _last_content(messages: Sequence[Any]) -> str:
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise UsageError(f"prompt: {brief(message)}; expected messages with role and content")
        # A dialect may leave out a message of a role that it does not know.
        if message.get("role") not in _ROLES:
            expected = ", ".join(_ROLES)
            raise UsageError(f"prompt: role {brief(message.get('role'))}; expected {expected}")
    return str(messages[-1]["content"])
