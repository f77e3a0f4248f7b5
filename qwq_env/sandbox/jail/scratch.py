"""The scratch folder of a slot: emptied after each program that wrote to it."""

from __future__ import annotations

import os
import stat
import time
from typing import Final

_EASY_FILES: Final = 64
_MODE: Final = 0o700

_TICK: Final = 0.02
"""Seconds that the time of a change may lag behind, at most: kernels before 6.13 take it from a
clock that ticks every 1 to 10 ms, so that two changes within a tick look like one."""


class Scratch:
    """One folder, empty at first; `wipe` it after each program.

    Most programs write no file, and then a wipe is one question to the kernel.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._untouched = _changed(folder)
        self._settles = time.monotonic() + _TICK
        self._unsettled = True

    def wipe(self) -> bool:
        """Unlink what a program has written; whether all of it is gone."""
        try:
            changed = _changed(self._folder) != self._untouched
            # A change right after the last one may not show in the time, and is looked for.
            return self._empty(changed) if changed or self._unsettled else True
        except OSError:
            return False

    def _empty(self, changed: bool) -> bool:
        if changed or stat.S_IMODE(os.stat(self._folder).st_mode) != _MODE:  # noqa: PTH116
            os.chmod(self._folder, _MODE)  # noqa: PTH101
            changed = True
        entries = os.listdir(self._folder)  # noqa: PTH208
        if len(entries) > _EASY_FILES:
            return False
        for entry in entries:
            path = f"{self._folder}/{entry}"
            if stat.S_ISDIR(os.lstat(path).st_mode):
                return False
            os.unlink(path)  # noqa: PTH108
        now = time.monotonic()
        if changed or entries:
            self._settles = now + _TICK
        self._untouched = _changed(self._folder)
        self._unsettled = now < self._settles
        return True


def _changed(folder: str) -> int:
    return os.stat(folder).st_ctime_ns  # noqa: PTH116 -- once per execution, as quick as it gets
