"""The sessions that live on a server: found by an unguessable id, closed when nobody uses them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from qwq_env.errors import QwqError
from qwq_env.sandbox.interface import SandboxSession
from qwq_env.sandbox.server.message import ApiError

_log = logging.getLogger(__name__)

# So many ended sessions are remembered, to say why they ended.
_REMEMBERED: Final = 4096
# So many steps may wait for the same session.
_MOST_WAITING: Final = 16


@dataclass(slots=True)
class _Entry:
    session: SandboxSession
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    last_used: float = field(default_factory=time.monotonic)


class SessionTable:
    """Up to `capacity` sessions; one that is not used for `idle_seconds` is closed."""

    def __init__(self, capacity: int, idle_seconds: float) -> None:
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._entries: dict[str, _Entry] = {}
        self._opening = 0
        self._ended: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_use(self) -> bool:
        """Whether a session is open, or about to be."""
        return bool(self._entries or self._opening)

    async def open(self, make: Callable[[], Awaitable[SandboxSession]]) -> str:
        """Keep the session that `make` returns and name it; `ApiError` 429 when full."""
        if len(self._entries) + self._opening >= self._capacity:
            message = f"all {self._capacity} sessions are in use"
            raise ApiError(429, "sessions_full", message, retry_after=1)
        self._opening += 1
        try:
            session = await make()
        finally:
            self._opening -= 1
        name = secrets.token_urlsafe(18)
        self._entries[name] = _Entry(session)
        return name

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[SandboxSession]:
        """Hold the session alone; `ApiError` 404 or 410 where there is none (any more)."""
        entry = self._find(name)
        if entry.users >= _MOST_WAITING:
            message = f"{entry.users} steps wait for this session already"
            raise ApiError(429, "session_busy", message, retry_after=1)
        entry.users += 1
        try:
            async with entry.lock:
                if self._entries.get(name) is not entry:
                    self._find(name)
                yield entry.session
        finally:
            entry.users -= 1
            entry.last_used = time.monotonic()

    async def close(self, name: str, reason: str = "was closed") -> None:
        """End a session, also in the middle of a step; `ApiError` where there is none."""
        entry = self._find(name)
        del self._entries[name]
        self._ended[name] = reason
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        await entry.session.aclose()

    async def sweep(self) -> None:
        """Close idle sessions until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, self._idle_seconds / 4))
            oldest = time.monotonic() - self._idle_seconds
            for name, entry in list(self._entries.items()):
                if not entry.users and entry.last_used < oldest and name in self._entries:
                    await self._close_quietly(name, f"was idle for {self._idle_seconds:g} s")

    async def aclose(self) -> None:
        """End every session."""
        names = list(self._entries)
        await asyncio.gather(
            *(self._close_quietly(name, "ended with the server") for name in names)
        )

    async def _close_quietly(self, name: str, reason: str) -> None:
        try:
            await self.close(name, reason)
        except QwqError as error:
            # The session is off the table already; the next one must still be closed.
            _log.warning("a session could not be closed: %s", error)

    def _find(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is not None:
            return entry
        reason = self._ended.get(name)
        if reason is not None:
            raise ApiError(410, "session_closed", f"the session {reason}")
        raise ApiError(404, "session_unknown", "there is no session with this id")
