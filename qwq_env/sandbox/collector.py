"""Holding off the garbage collector's full searches while much that holds no garbage is built."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Final

_NEVER: Final = 1 << 30


class _Hold:
    """The collector is the whole process's, so its threads count together who holds it."""

    lock = threading.Lock()
    holders = 0
    thresholds = (0, 0, 0)


@contextlib.contextmanager
def no_full_collections() -> Iterator[None]:
    """Let nobody search all objects in the body; young ones are looked at as ever.

    Python searches all of them whenever they have grown by a quarter, in one go of some 50 ns an
    object: for half a million lists the event loop stands still for 25 ms, several times over. What
    is read from JSON has no cycles, so nothing would be found.
    """
    with _Hold.lock:
        if not _Hold.holders:
            _Hold.thresholds = gc.get_threshold()
            gc.set_threshold(*_Hold.thresholds[:2], _NEVER)
        _Hold.holders += 1
    try:
        yield
    finally:
        with _Hold.lock:
            _Hold.holders -= 1
            # Who has set others meanwhile is to keep them.
            if not _Hold.holders and gc.get_threshold()[2] == _NEVER:
                gc.set_threshold(*_Hold.thresholds)
