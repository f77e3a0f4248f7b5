"""Folders `v000123` of weights, each whole or not there.

A version is written beside its place (`v000123.part`), brought to the disk, and renamed. So neither
a server that starts meanwhile nor one that reads after a crash finds half of one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from qwq_env.errors import UsageError

_VERSION = re.compile(r"v\d{6,}")
_KEPT = 2
"""A server that starts may still read the last but one."""


def write_version(root: Path, version: int, write: Callable[[Path], None]) -> Path:
    """Return the folder of `version` below `root`, with what `write` puts into a new folder."""
    part = begin_version(root, version)
    try:
        write(part)
        return end_version(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def begin_version(root: Path, version: int) -> Path:
    """Return a new folder beside that of `version`, for its files; see `end_version`.

    What an interrupted write left behind goes; older versions stay until `keep_newest`.
    """
    for left in root.glob("v*.part"):
        shutil.rmtree(left)
    part = root / f"v{version:06d}.part"
    part.mkdir(parents=True)
    return part


def version_at(root: Path, version: int) -> Path:
    """Return the folder of a version that was written. Raises `UsageError` if it is not there."""
    folder = root / f"v{version:06d}"
    if not folder.is_dir():
        raise UsageError(f"weights: {folder} is not there; it was to hold what was trained")
    return folder


def end_version(part: Path) -> Path:
    """Bring what is in the folder to the disk, and put it in the place of its version."""
    for path in (*part.rglob("*"), part):
        to_disk(path)
    folder = part.with_suffix("")
    if folder.exists():
        # A run that went on from an older step comes to the same number again.
        aside = folder.with_name(f"{folder.name}.old.part")
        folder.rename(aside)
        part.rename(folder)
        shutil.rmtree(aside)
    else:
        part.rename(folder)
    to_disk(folder.parent)
    return folder


def keep_newest(root: Path, newest: Path) -> None:
    """Remove all versions but `newest`, which was written last, and the one written before it."""
    others = [path for path in root.iterdir() if _VERSION.fullmatch(path.name) and path != newest]
    others.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in others[: len(others) - (_KEPT - 1)]:
        shutil.rmtree(old, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def to_disk(path: Path) -> None:
    """Return when a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
