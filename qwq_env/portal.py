"""The one way from synchronous code into the asynchronous inside.

Everything in the library is a coroutine. `run` executes one on an event loop that lives in a
thread of its own, so it works in a script, in a notebook whose loop is already running, and from
several threads at once; and what a coroutine leaves behind for a later one (a tool's process, a
connection) stays on the same loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from qwq_env.errors import EpisodeError

Result = TypeVar("Result")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run `coroutine` to its end and return its result; an interrupt cancels it.

    Raises `EpisodeError` on the background loop itself, which would wait for itself for ever.
    """
    if _on_own_loop():
        coroutine.close()
        raise EpisodeError(
            "a synchronous reset, step or close was called from inside a tool or a reward;"
            " await areset, astep or aclose there"
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, _background_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def reach(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run `coroutine` on that same loop, from whichever loop this is awaited on.

    Why you would want this: a resource that belongs to one event loop (a pool of processes) can
    so be shared by every loop of the process, and outlives each. Cancelling cancels it.
    """
    loop = _background_loop()
    if asyncio.get_running_loop() is loop:
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


def _on_own_loop() -> bool:
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def _background_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="qwq-env-loop", daemon=True).start()
        return _loop


def _forget_after_fork() -> None:
    """A forked child has the loop but not the thread that runs it."""
    global _loop, _lock
    _loop = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
