"""Whether the servers that a policy asks are there: one that died is told apart from a slow one.

Why you would want this: an episode that cannot reach its server tries again for a while, as it
should, and is lost. When the server is dead, a thousand episodes do so one after the other, and a
training run goes on with batches that hold nothing.

- A server that answers is alive, whatever the answer is and however long it takes.
- A server is in doubt once a connection to it was refused, broken or not made. It is then probed,
  once for all that wait and about every second, until it answers.
- When all servers have been in doubt for `grace` seconds without a break, they are gone, and
  everything that waits for them gets `ServersGone`.

A server that has given nothing but failures for two seconds, or asks to be left alone for half a
minute, is named in the log, and once more when it serves again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from qwq_env.errors import ServersGone

_log = logging.getLogger(__name__)

_WARN_SECONDS = 2.0
_MOST_PERIOD = 1.0
_LONG_SECONDS = 30.0
_QUIET_SECONDS = 3.0
_MISSES = 3
"""So many probes must have failed: one alone may have, for our own loop stood still."""

Probe = Callable[[str], Awaitable[str | None]]
"""Asks the server of a name whether it is there: None if it is, else what is wrong, in one line."""


class _Server:
    """What is known of one server; times are the event loop's."""

    def __init__(self) -> None:
        self.words = ""
        self.failing: float | None = None
        self.doubted: float | None = None
        self.heard = -math.inf
        self.misses = 0
        self.warned = False


class Liveness:
    """Watches over some servers on behalf of all that ask them. Belongs to one event loop."""

    def __init__(
        self,
        names: Iterable[str],
        probe: Probe,
        *,
        grace: float = math.inf,
        heartbeat: bool = False,
    ) -> None:
        """`names` are the servers; one more that is spoken of is taken in. Without a finite `grace`
        nothing is probed, no server is ever gone, and only the log tells of failures. With
        `heartbeat` a server from which nothing was heard for three seconds is probed as well: a
        machine that vanished breaks no connection.
        """
        self._servers = {name: _Server() for name in names}
        self._probe = probe
        self._grace = grace
        self._heartbeat = heartbeat
        self._period = min(_MOST_PERIOD, grace / 6)
        self._waiting: set[asyncio.Timeout] = set()
        self._watch: asyncio.Task[None] | None = None
        self._doubt, self._reachable = asyncio.Event(), asyncio.Event()
        self._reachable.set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Enclose all that waits for these servers; raises `ServersGone` there when they are."""
        bound = asyncio.timeout(None)
        try:
            async with bound:
                self._enter(bound)
                try:
                    yield
                finally:
                    self._leave(bound)
        except TimeoutError:
            if not bound.expired():
                raise
            raise ServersGone(self._words()) from None

    def served(self, name: str) -> None:
        """Take notice that a server did what it was asked."""
        server = self._servers.setdefault(name, _Server())
        self._reached(server)
        if server.failing is not None and server.warned:
            seconds = _now() - server.failing
            _log.warning("%s: serves again, after %.0f seconds", name, seconds)
        server.failing, server.warned = None, False

    def failed(self, name: str, words: str, *, answered: bool, after: float = 0.0) -> None:
        """Take notice that a request failed; `answered` if the server itself said so, and `after`
        is for how many seconds it will be left alone."""
        server = self._servers.setdefault(name, _Server())
        server.words = words
        if answered:
            self._reached(server)
        elif server.doubted is None and math.isfinite(self._grace):
            self._begin_doubt(server, _now())
            self._doubt.set()
        self._note(name, server, after)

    def in_doubt(self, name: str) -> bool:
        """Whether it was not to be reached lately; better ask another one, if there is one."""
        return self._servers[name].doubted is not None

    async def settled(self) -> None:
        """Wait until a server is there to be asked; only within `watching`, which ends the wait."""
        await self._reachable.wait()

    def _enter(self, bound: asyncio.Timeout) -> None:
        self._waiting.add(bound)
        if self._watch is None and math.isfinite(self._grace):
            for server in self._servers.values():
                server.heard = _now()
            self._watch = asyncio.create_task(self._keep_watch())

    def _leave(self, bound: asyncio.Timeout) -> None:
        self._waiting.discard(bound)
        if self._watch is not None and not self._waiting:
            self._watch.cancel()
            self._watch = None

    async def _keep_watch(self) -> None:
        while True:
            # First of all: what comes up from here on is seen in the next round.
            self._doubt.clear()
            now = _now()
            asked = [name for name, server in self._servers.items() if self._asks(server, now)]
            await asyncio.gather(*map(self._ask, asked))
            if all(map(self._gone, self._servers.values())):
                for bound in self._waiting:
                    bound.reschedule(_now())
            if asked:
                # However many episodes doubt, this is how often a server is probed at most.
                await asyncio.sleep(self._period / 10)
            try:
                async with asyncio.timeout(self._period):
                    await self._doubt.wait()
            except TimeoutError:
                pass

    def _asks(self, server: _Server, now: float) -> bool:
        quiet = self._heartbeat and now - server.heard > _QUIET_SECONDS
        return quiet or server.doubted is not None

    async def _ask(self, name: str) -> None:
        server, began = self._servers[name], _now()
        words = await self._probe(name)
        if words is None:
            self._reached(server)
            return
        if server.doubted is None:
            self._begin_doubt(server, began)
        server.words = words
        server.misses += 1
        self._note(name, server)

    def _begin_doubt(self, server: _Server, since: float) -> None:
        server.doubted, server.misses = since, 0
        if all(other.doubted is not None for other in self._servers.values()):
            self._reachable.clear()

    def _reached(self, server: _Server) -> None:
        server.doubted, server.heard = None, _now()
        self._reachable.set()

    def _gone(self, server: _Server) -> bool:
        since = server.doubted
        return since is not None and server.misses >= _MISSES and _now() - since >= self._grace

    def _note(self, name: str, server: _Server, after: float = 0.0) -> None:
        """Tell of a server that fails, once, and not of a single failure that costs no time."""
        now = _now()
        server.failing = now if server.failing is None else server.failing
        seconds, long = now - server.failing, after >= _LONG_SECONDS
        if not server.warned and (long or seconds >= _WARN_SECONDS):
            server.warned = True
            wait = f"; left alone for {after:.0f} seconds, as it asks" if long else ""
            told = "%s: nothing but failures for %.0f seconds: %s%s"
            _log.warning(told, name, seconds, server.words, wait)

    def _words(self) -> str:
        told = "; ".join(f"{name}: {server.words}" for name, server in self._servers.items())
        return f"no server is left, for {self._grace:g} seconds: {told}"


def _now() -> float:
    return asyncio.get_running_loop().time()
