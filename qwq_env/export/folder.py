"""Where an export is written: beside its place until it is whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qwq_env.errors import UsageError
from qwq_env.files.atomic import part_of


def check_free(out: Path) -> None:
    """Raise `UsageError` if something is at `out`, or no folder for it."""
    if out.exists():
        raise UsageError(f"out: {out} exists; expected a new name")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"out: {out}; expected a name in a folder that is there")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write in, which is `out` once all is written; of a failure nothing stays."""
    check_free(out)
    part = part_of(out)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """Give a file to write, which is `out` once all is written; of a failure nothing stays."""
    check_free(out)
    part = part_of(out)
    try:
        yield part
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)


def file_name(number: int, *words: str) -> str:
    """Return a name that every file system takes: a number, and what is harmless of `words`."""
    rest = [re.sub(r"[^A-Za-z0-9._-]+", "_", word)[:60] for word in words if word]
    return "-".join([f"{number:06d}", *rest])
