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

_VERSION = re.compile(r"v\d{6,}")
_KEPT = 2
"""A server that starts may still read the last but one."""


def write_version(root: Path, version: int, write: Callable[[Path], None]) -> Path:
    """Return the folder of `version` below `root`, with what `write` puts into a new folder.

    What an interrupted write left behind goes; older versions stay until `keep_newest`.
    """
    for left in root.glob("v*.part"):
        shutil.rmtree(left)
    folder = root / f"v{version:06d}"
    part = folder.with_name(folder.name + ".part")
    try:
        part.mkdir(parents=True)
        write(part)
        for path in (*part.rglob("*"), part):
            _to_disk(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if folder.exists():
        # A run that went on from an older step comes to the same number again.
        aside = folder.with_name(f"{folder.name}.old.part")
        folder.rename(aside)
        part.rename(folder)
        shutil.rmtree(aside)
    else:
        part.rename(folder)
    _to_disk(root)
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


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
