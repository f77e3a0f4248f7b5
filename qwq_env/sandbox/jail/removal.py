"""Removing what a program has left, whatever it did so that it cannot be removed."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

_LOOK: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def remove_tree(folder: str) -> None:
    """Remove a folder and all in it, as far as its owner may; what cannot be removed stays.

    A program may nest folders deeper than a recursion or a path goes, and shut them. So each
    folder is opened by its descriptor, and the folders in it are moved up to the top first:
    neither the depth of the calls nor the count of open descriptors grows with that of the tree.
    Links are removed, never followed.
    """
    with contextlib.suppress(OSError):
        top = _open(folder, None)
        try:
            empty(top)
        finally:
            os.close(top)
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106


def empty(top: int, most: int = sys.maxsize) -> bool:
    """Remove all in an open folder, if that is at most so many entries; whether all is gone."""
    changed = True
    while changed:
        changed = False
        for name in os.listdir(top):
            removed = _remove(top, name, most)
            most -= removed
            if most < 0:
                return False
            changed |= removed > 0
    return not os.listdir(top)


def _open(name: str, parent: int | None) -> int:
    """Open a folder for its owner to empty, whatever its mode is."""
    place = os.open(name, _LOOK, dir_fd=parent)
    try:
        # By its descriptor: a name could be another's by now.
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101
        return os.open(".", _READ, dir_fd=place)
    finally:
        os.close(place)


def _remove(top: int, name: str, most: int) -> int:
    """Remove an entry of the top folder, or move up what is in it; how many entries it touched.

    A folder of more than `most` is left as it is.
    """
    try:
        if _unlink(name, top):
            return 1
        folder = _open(name, top)
    except OSError:
        return 0
    changed = 0
    try:
        inside = os.listdir(folder)  # noqa: PTH208
        for inner in inside if len(inside) <= most else ():
            with contextlib.suppress(OSError):
                if not _unlink(inner, folder):
                    os.close(_open(inner, folder))
                    os.rename(inner, os.urandom(8).hex(), src_dir_fd=folder, dst_dir_fd=top)
                changed += 1
    finally:
        os.close(folder)
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=top)
        changed += 1
    return changed


def _unlink(name: str, parent: int) -> bool:
    """Unlink what is no folder; False for a folder."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        return False
    return True
