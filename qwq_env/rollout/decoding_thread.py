"""The thread that runs forward passes, and the way between it and the event loops.

It is no daemon: a daemon thread inside a forward pass when the interpreter ends takes the whole
process down with an abort. So it ends by itself soon after its work does, and starts again
with the next; and when the main thread has ended it gives up what is left.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from qwq_env.errors import InfrastructureError
from qwq_env.rollout.decoding import Decoding, Ended

LINGER = 0.2
"""Seconds for which the thread waits for more work before it ends."""

_log = logging.getLogger(__name__)


class DecodingThread:
    """Runs the steps of one `Decoding`, which no other thread may touch."""

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def post(self, command: Callable[[], None]) -> None:
        """Have a command run before the next step; commands run in the order posted."""
        with self._wake:
            self._commands.append(command)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="qwq-decode", daemon=False)
                self._thread.start()
            else:
                self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._commands and not self._decoding.busy:
                    self._wake.wait(LINGER)
                    if not self._commands:
                        self._thread = None
                        return
                commands, self._commands = self._commands, deque()
            for command in commands:
                command()
            if not threading.main_thread().is_alive():
                _deliver(self._decoding.abandon("the interpreter is ending"))
            elif self._decoding.busy:
                _deliver(self._step())

    def _step(self) -> Sequence[Ended]:
        try:
            return self._decoding.step()
        except Exception as problem:  # noqa: BLE001 - the boundary to the model: any fault is ours
            # Logged here, not chained: a traceback kept alive would keep the tensors of an
            # out-of-memory failure alive too.
            _log.exception("the forward pass failed")
            return self._decoding.fail(f"forward pass: {type(problem).__name__}: {problem}")


def _deliver(ended: Sequence[Ended]) -> None:
    """Hand results to the event loops that wait for them."""
    loops: dict[asyncio.AbstractEventLoop, list[Ended]] = {}
    for end in ended:
        loops.setdefault(end.turn.loop, []).append(end)
    for loop, ends in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, ends)
        except RuntimeError:
            pass  # the loop was closed: nobody waits any more


def _settle(ended: Sequence[Ended]) -> None:
    for turn, result in ended:
        if turn.future.done():
            continue
        if isinstance(result, InfrastructureError):
            turn.future.set_exception(result)
        else:
            turn.future.set_result(result)
