"""The scratch folder of a slot: emptied after each program that wrote to it."""

from __future__ import annotations

import os
import stat
import time
from typing import Final

from qwq_env.sandbox.jail import removal

_MOST_ENTRIES: Final = 512
"""To remove more takes longer than to replace the slot, and whoever made them took longer still."""

_MODE: Final = 0o700
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME | os.O_CLOEXEC

_TICK: Final = 0.02
"""Seconds that the time of a change may lag behind, at most: kernels before 6.13 take it from a
clock that ticks every 1 to 10 ms, so that two changes within a tick look like one."""


class Scratch:
    """One folder, empty at first; `wipe` it after each program.

    Most programs write no file, and then a wipe is one question to the kernel. What a program has
    done to the folder itself, its times and its mode, is undone too.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._restore()
        self._unsettled = True

    def wipe(self) -> bool:
        """Remove what a program has written; whether all of it is gone."""
        try:
            changed = _changed(self._folder) != self._untouched
            # A change right after the last one may not show in the time, and is looked for.
            return self._empty() if changed or self._unsettled else True
        except OSError:
            return False

    def _empty(self) -> bool:
        status = os.stat(self._folder)  # noqa: PTH116
        as_it_was = stat.S_IMODE(status.st_mode) == _MODE
        as_it_was = as_it_was and status.st_mtime_ns == status.st_atime_ns == 0
        if not as_it_was:
            os.chmod(self._folder, _MODE)  # noqa: PTH101
        folder = os.open(self._folder, _LIST)
        try:
            if os.listdir(folder):  # noqa: PTH208
                as_it_was = False
                if not removal.empty(folder, _MOST_ENTRIES):
                    return False
        finally:
            os.close(folder)
        if not as_it_was:
            self._restore()
        self._unsettled = time.monotonic() < self._settles
        return True

    def _restore(self) -> None:
        os.utime(self._folder, (0, 0))
        self._settles = time.monotonic() + _TICK
        self._untouched = _changed(self._folder)


def _changed(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116 -- once per execution, as quick as it gets
    return status.st_ctime_ns, status.st_atime_ns
