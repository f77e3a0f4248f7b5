"""A child that is asked one thing at a time: a session's interpreter, or a loaded solution."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from qwq_env.sandbox.channel import Channel
from qwq_env.sandbox.handle import Ended, SlotHandle
from qwq_env.sandbox.jail import wire
from qwq_env.sandbox.result import Limits
from qwq_env.sandbox.stopwatch import Stopwatch

_OPENING_SECONDS: Final = 30.0

_LINGER_SECONDS: Final = 0.0002
"""How long the event loop stands still for an answer, where nothing else is asked meanwhile."""

_MOST_IN_A_ROW: Final = 16
"""After so many quick answers the event loop gets its turn: about every millisecond."""


class Dialogue:
    """A job on a slot that answers over a channel: await `ready`, then `ask` again and again.

    `watch` is over the question that is asked now, and calls `on_over` when its time is up. An
    answer of more than `most_bytes` ends the child. `ended` is its end, however it came.
    """

    def __init__(
        self,
        slot: SlotHandle,
        job: wire.Job,
        code: bytes,
        limits: Limits,
        on_over: Callable[[], None],
        most_bytes: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._loop, self._on_frame, slot.kill_child, most_bytes)
        self._waiter: asyncio.Future[bytearray | None] | None = None
        self._opening = b""
        self._last_took = _OPENING_SECONDS
        self._in_a_row = 0
        self._slot = slot
        self._on_over = on_over
        self._cpu_seconds = limits.cpu_seconds
        self.watch = Stopwatch(self._on_long, on_over)
        theirs = self._channel.theirs
        self.ended = slot.start(job, code, b"", theirs, limits, False)
        self.ended.add_done_callback(self._on_ended)
        theirs.close()

    async def ready(self) -> bool:
        """Wait for the child's first word, which tells its process id; whether it came."""
        try:
            async with asyncio.timeout(_OPENING_SECONDS):
                return await self._wait_for(b"") is not None
        except TimeoutError:
            return False

    def _wait_for(self, opening: bytes) -> asyncio.Future[bytearray | None]:
        self._opening = opening
        self._waiter = waiter = self._loop.create_future()
        if self.ended.done():
            waiter.set_result(None)
        return waiter

    async def ask(
        self, question: bytes, opening: bytes, limits: Limits, lingers: bool = False
    ) -> bytearray | None:
        """Put a question and return the answer, which begins with `opening`; None for the end.

        Only the answer to the question that is asked now begins so, whatever else a program
        writes on the channel. With `lingers` the answer is looked out for before the event loop
        gets its turn, if the last one came quickly.
        """
        waiter = self._wait_for(opening)
        self.watch.start(self._channel.peer_pid, limits)
        self._channel.send(question)
        if lingers and self._last_took < _LINGER_SECONDS and self._in_a_row < _MOST_IN_A_ROW:
            self._channel.look_out(_LINGER_SECONDS)
        self._in_a_row = self._in_a_row + 1 if waiter.done() else 0
        try:
            return await waiter
        finally:
            self._waiter = None  # nor is a large answer kept longer than it is needed
            self.watch.stop()
            self._slot.unwatch_cpu()
            self._last_took = self.watch.wall_seconds()

    def _on_long(self) -> None:
        self._slot.listen()
        self._slot.watch_cpu(self._cpu_seconds, self._on_over)

    def _on_frame(self, frame: bytearray) -> None:
        if frame.startswith(self._opening):
            self._settle(frame)

    def _on_ended(self, ended: asyncio.Future[Ended]) -> None:
        if not ended.cancelled():
            ended.exception()  # fetched, so that nobody is told it never was
        self._channel.close()
        self._settle(None)

    def _settle(self, answer: bytearray | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)

    def close(self) -> None:
        """Hang up, and leave no timer behind."""
        self.watch.close()
        self._channel.close()
