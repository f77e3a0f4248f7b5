"""What `tasks=` may be: a task set, the name of a procedural one, a file, a data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from qwq_env.errors import UsageError, brief
from qwq_env.task import RowReader, TaskSet, load_huggingface, load_jsonl, read_any_row

_DATASET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# A dataset's name may hold a dot (`org/name-v1.5`), so only these make a path of one.
_FILES = frozenset(
    [".jsonl", ".json", ".txt", ".csv", ".tsv", ".parquet", ".arrow", ".md", ".gz", ".zip", ".zst"]
)
_TABLES = frozenset([".parquet", ".csv", ".arrow"])
_DATA = ("*.parquet", "*.csv", "*.arrow")
_LINES = ("*.jsonl", "*.json")


def open_tasks(
    tasks: object,
    procedural: Mapping[str, Callable[[], TaskSet]],
    *,
    reader: RowReader = read_any_row,
    configuration: str | None = None,
    split: str = "train",
    strict: bool = False,
) -> TaskSet:
    """Return the task set that `tasks` stands for.

    A `TaskSet` stands for itself, a name of `procedural` for what it makes, a path for a JSONL file
    or a table (parquet, csv, arrow), a folder with data files or `org/name` for a Hugging Face
    dataset (`configuration`, `split`). In a folder of JSONL files, that of the split is named after
    it (`test.jsonl`). Rows are read with `reader`; those that it refuses are left out and told of,
    or with `strict` end the loading.

    Raises `UsageError` for everything else, and for what cannot be loaded.
    """
    if isinstance(tasks, TaskSet):
        return tasks
    names = ", ".join(map(repr, procedural))
    expected = f"expected {names}, a .jsonl path, a dataset id 'org/name' or a TaskSet"
    if not isinstance(tasks, str | Path) or not str(tasks).strip():
        raise UsageError(f"tasks: {brief(tasks)}; {expected}")
    name, path = str(tasks), Path(tasks)

    def hub() -> TaskSet:
        return load_huggingface(
            name, configuration=configuration, split=split, reader=reader, strict=strict
        )

    if name in procedural:
        return procedural[name]()
    if path.is_dir():
        if not any(True for pattern in _DATA for _ in path.rglob(pattern)):
            if lines := _lines_of(path, split):
                return load_jsonl(lines, reader, strict=strict)
            raise UsageError(f"tasks: {brief(name)} is a folder without data files; {expected}")
        return hub()
    if path.is_file() and path.suffix.lower() in _TABLES:
        return hub()
    if path.is_file() or path.suffix.lower() in _FILES:
        return load_jsonl(path, reader, strict=strict)
    if not _DATASET_ID.fullmatch(name):
        raise UsageError(f"tasks: {brief(name)}; {expected}")
    return hub()


def _lines_of(folder: Path, split: str) -> Path | None:
    """Return the JSONL file of a split, None in a folder without any.

    They are not left to the `datasets` library: its parser ends the process at a row that is
    nested deeply. Raises `UsageError` if none of several is the split's.
    """
    files = sorted(path for pattern in _LINES for path in folder.rglob(pattern))
    if len(files) < 2:
        return files[0] if files else None
    named = [path for path in files if path.stem == split]
    if len(named) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in files[:5])
        raise UsageError(f"tasks: {folder}: {names}; expected one {split}.jsonl")
    return named[0]
