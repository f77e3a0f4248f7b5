"""The data of a benchmark: a file or a folder as published, or else the hub's.

Whatever is loaded is named and digested, so that two figures can be held to the same tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from qwq_env.errors import UsageError, brief
from qwq_env.evaluation.benchmarks import looks_like
from qwq_env.evaluation.benchmarks.protocol import Benchmark
from qwq_env.files.jsonl import read_array, read_objects
from qwq_env.task import ListTaskSet, Task, load_rows
from qwq_env.tasks.rows import found_columns, nearest_form

_LINES: Final = (".jsonl", ".json")
_TABLES: Final = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}

_Located = tuple[str, str, Mapping[str, Any]]
"""Where a row stands, the id of its task if it says none, and the row."""


class BenchmarkData(NamedTuple):
    """The tasks of a benchmark, or the folders that its environment reads; `where` they are from.

    `sha256` is that of the files, or of the rows of a hub's table. `left_out` counts the rows that
    cannot be graded.
    """

    tasks: ListTaskSet | Path | Sequence[Path]
    where: str
    sha256: str
    left_out: int = 0


def load_data(benchmark: Benchmark, preset: str, path: str | None = None) -> BenchmarkData:
    """Load the data of a benchmark from `path`, or from the hub.

    Raises `UsageError` for data that are not there, or not the benchmark's: it names the columns
    that there are, those that are wanted, and what comes nearest.
    """
    if path is None:
        return _of_hub(benchmark, preset)
    place = Path(path)
    if not place.exists():
        raise UsageError(f"data: {path!r} does not exist; expected {_expected(benchmark)}")
    return _of_place(benchmark, preset, place, str(place))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        total.update(f"{file.relative_to(path).as_posix()} {digest(file)}\n".encode())
    return total.hexdigest()


def _of_hub(benchmark: Benchmark, preset: str) -> BenchmarkData:
    hub = benchmark.hub
    if hub is None:
        expected = f"--data with {_expected(benchmark)}"
        raise UsageError(f"data: none, and {benchmark.name} is on no hub; expected {expected}")
    where = f"hub: {hub.dataset}"
    if hub.files:
        places = [_snapshot(name, hub.files) for name in (hub.dataset, *hub.more)]
        if len(places) == 1:
            return _of_place(benchmark, preset, places[0], where)
        for place in places:
            _check_files(benchmark, place)
        names, hashes = (hub.dataset, *hub.more), "\n".join(map(digest, places))
        sha256 = hashlib.sha256(hashes.encode()).hexdigest()
        return BenchmarkData(places, f"hub: {', '.join(names)}", sha256)
    rows = _table(hub.dataset, hub.configuration, hub.split)
    where += f" [{hub.configuration or 'default'}, {hub.split}]"
    return _of_rows(benchmark, preset, rows, where, None)


def _of_place(benchmark: Benchmark, preset: str, place: Path, where: str) -> BenchmarkData:
    if not benchmark.forms:
        _check_files(benchmark, place)
        return BenchmarkData(place, where, digest(place))
    rows = (row for file in _files(benchmark, place) for row in _read(file))
    return _of_rows(benchmark, preset, rows, where, digest(place))


def _of_rows(
    benchmark: Benchmark, preset: str, rows: Iterable[_Located], where: str, sha256: str | None
) -> BenchmarkData:
    protocol = benchmark.protocol(preset)
    total = hashlib.sha256()
    count = 0

    def kept() -> Iterator[_Located]:
        nonlocal count
        for place, task_id, row in rows:
            if benchmark.keep is not None and not benchmark.keep(row):
                continue
            count += 1
            total.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
            yield place, task_id, row

    def read(row: Mapping[str, Any], task_id: str) -> Task:
        _check_columns(benchmark, row)
        return protocol.read(row, task_id)

    try:
        tasks = load_rows(where, kept(), read, strict=False)
    except UsageError as error:
        raise UsageError(f"data: {str(error).removeprefix('data: ')}") from None
    assert tasks.size is not None
    return BenchmarkData(tasks, where, sha256 or total.hexdigest(), count - tasks.size)


def _check_columns(benchmark: Benchmark, row: Mapping[str, Any]) -> None:
    if any(row.keys() >= set(form) for form in benchmark.forms.values()):
        return
    wanted = "; or ".join(f"{', '.join(form)} ({name})" for name, form in benchmark.forms.items())
    others = looks_like(row)
    hint = f"; rows of {' or '.join(others)} look so" if others else ""
    raise UsageError(
        f"{found_columns(row)}; expected {wanted}; {nearest_form(row, benchmark.forms)}{hint}"
    )


def _check_files(benchmark: Benchmark, place: Path) -> None:
    """Raise `UsageError` for a folder without the files that are wanted, or another's file."""
    if place.is_file() and place.suffix in _LINES:
        _, _, row = next(_read(place), ("", "", {}))
        if others := looks_like(row):
            expected, hint = _expected(benchmark), " or ".join(others)
            raise UsageError(
                f"data: {place}: {found_columns(row)}; expected {expected}; rows of {hint} look so"
            )
    if place.is_file() or any(True for name in benchmark.files for _ in place.glob(name)):
        return
    found = ", ".join(sorted(each.name for each in place.iterdir())[:8]) or "nothing"
    raise UsageError(f"data: {place} holds {found}; expected {_expected(benchmark)}")


def _files(benchmark: Benchmark, place: Path) -> list[Path]:
    """Return the file itself, or those of a folder: named as published, or else the only one."""
    if place.is_file():
        return [place]
    files = sorted(each for each in place.rglob("*") if each.suffix in (*_LINES, *_TABLES))
    named = [each for each in files if any(each.match(name) for name in benchmark.files)]
    if not named and len(files) == 1:
        named = files
    if not named:
        found = ", ".join(str(each.relative_to(place)) for each in files[:8]) or "no data file"
        raise UsageError(f"data: {place} holds {found}; expected {_expected(benchmark)}")
    return named


def _read(file: Path) -> Iterator[_Located]:
    if file.suffix in _TABLES:
        yield from _table(str(file), None, "train")
        return
    with file.open("rb") as content:
        is_array = content.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    rows: Iterable[tuple[int, Any]] = (
        enumerate(read_array(file, field="data"), start=1)
        if is_array
        else read_objects(file, field="data")
    )
    for number, row in rows:
        if not isinstance(row, dict):
            raise UsageError(f"data: {file}: entry {number}: {brief(row)}; expected an object")
        yield f"{file}:{number}", f"{file.stem}/{number}", row


def _table(dataset: str, configuration: str | None, split: str) -> Iterator[_Located]:
    import datasets  # noqa: PLC0415 - heavy, optional

    try:
        if (form := _TABLES.get(Path(dataset).suffix.lower())) and Path(dataset).is_file():
            rows = datasets.load_dataset(form, data_files=dataset, split=split)
        else:
            rows = datasets.load_dataset(dataset, configuration, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"data: {brief(dataset)} could not be loaded: {reason}; --data takes a local file"
        ) from None
    for index, row in enumerate(rows):
        yield f"{dataset}[{split}] row {index}", f"{split}/{index}", row


def _snapshot(dataset: str, files: Sequence[str]) -> Path:
    """Return the folder with a dataset's files, fetched if they are not there."""
    if Path(dataset).is_dir():
        return Path(dataset)
    import huggingface_hub  # noqa: PLC0415 - heavy, optional

    try:
        return Path(
            huggingface_hub.snapshot_download(
                dataset, repo_type="dataset", allow_patterns=list(files)
            )
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"data: {brief(dataset)} could not be fetched: {reason}; --data takes a local folder"
        ) from None


def _expected(benchmark: Benchmark) -> str:
    files = f" ({', '.join(benchmark.files)})" if benchmark.files else ""
    return f"a file or folder{files} as published at {benchmark.home}"
