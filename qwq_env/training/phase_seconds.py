"""How long each phase of a run took, over all the parts that it was interrupted into."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from qwq_env.training.run_folder import RunFolder

_EVERY = 1.0


class PhaseSeconds:
    """Wall seconds by phase, written to the run's folder while they pass.

    Why while they pass: a run that is killed has no time to say how long it took, and its next
    part begins where this one was last written down.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.spent: dict[str, float] = folder.done("seconds") or {}
        self._folder = folder
        self._name = ""
        self._before = self._began = self._written = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds until the block's end for `name`, on top of those before."""
        self._name, self._before = name, self.spent.get(name, 0.0)
        self._began = time.perf_counter()
        try:
            yield
        finally:
            self._write()

    def tick(self) -> None:
        """Write the seconds down if the last time is a second ago; call it often."""
        if time.perf_counter() - self._written >= _EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.perf_counter()
        self.spent[self._name] = round(self._before + self._written - self._began, 2)
        self._folder.mark_done("seconds", self.spent)
